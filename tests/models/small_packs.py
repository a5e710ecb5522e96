"""Packs of two small files, for tests of how packs are found and installed."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

DETECTOR = b"bytes of a detector"
RECOGNISER = b"bytes of a recogniser"
PAIR = {"det_tiny.onnx": DETECTOR, "w600k_tiny.onnx": RECOGNISER}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return path


def fetching(files: dict[str, bytes]) -> Callable[[str, Path], None]:
    def fetch(name: str, target: Path) -> None:
        make_zip(target, files)

    return fetch


def no_fetch(name: str, target: Path) -> None:
    raise AssertionError("nothing was to be downloaded")


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
