"""The manifest of a pack says what its files are, and is held to it."""

import json
from pathlib import Path

import pytest

from facesim_index.errors import ModelError
from facesim_index.models.installation import install
from facesim_index.models.pack import MANIFEST_NAME
from facesim_index.models.resolution import resolve, verify
from tests.models.small_packs import DETECTOR, PAIR, RECOGNISER, fetching, make_folder, sha256


def test_manifest_is_checked_at_every_use(packs: Path) -> None:
    install("tiny", fetch=fetching(PAIR))
    recogniser = packs / "tiny" / "w600k_tiny.onnx"
    recogniser.write_bytes(b"bytes of a recogniseR")
    with pytest.raises(ModelError) as caught:
        resolve("tiny")
    message = str(caught.value)
    assert str(recogniser) in message
    assert sha256(RECOGNISER) in message
    assert sha256(b"bytes of a recogniseR") in message
    recogniser.unlink()
    assert verify("tiny").state == "incomplete"


def test_manifest_says_which_file_is_which(packs: Path) -> None:
    install("tiny", fetch=fetching(PAIR))
    (packs / "tiny" / "det_other.onnx").write_bytes(b"other")
    assert resolve("tiny").detector.name == "det_tiny.onnx"


def manifest(*, format: int = 1, detector: str = "det_tiny.onnx") -> bytes:
    record = {
        "format": format,
        "detector": {"file": detector, "sha256": sha256(DETECTOR)},
        "recogniser": {"file": "w600k_tiny.onnx", "sha256": sha256(RECOGNISER)},
    }
    return json.dumps(record).encode()


def test_manifest_as_promised_is_read(packs: Path) -> None:
    make_folder(packs / "tiny", {**PAIR, "det_b.onnx": b"", MANIFEST_NAME: manifest()})
    assert verify("tiny").state == "ok"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        manifest(detector="../det_tiny.onnx"),
        manifest(format=2),
        manifest()[:-5],
    ],
)
def test_unreadable_manifest_is_damage(packs: Path, text: bytes) -> None:
    make_folder(packs / "tiny", {**PAIR, MANIFEST_NAME: text})
    status = verify("tiny")
    assert status.state == "damaged"
    assert MANIFEST_NAME in status.message
