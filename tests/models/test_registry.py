"""The tables of published packs agree with themselves."""

import pytest

from facesim_index.models import registry
from facesim_index.models.registry import PUBLISHED_PACKS


def test_tables_agree_with_themselves() -> None:
    for pack in PUBLISHED_PACKS.values():
        for file, role in ((pack.detector, "detector"), (pack.recogniser, "recogniser")):
            assert len(bytes.fromhex(file.sha256)) == 32
            assert registry.role_of_name(file.file_name) == role
            assert registry.role_of_hash(file.sha256) == role
            assert file.sha256 in registry.published_hashes(file.file_name)
            assert registry.licence_of(file.sha256) == registry.INSIGHTFACE_LICENCE


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("det_10g.onnx", "detector"),
        ("SCRFD_34g.ONNX", "detector"),
        ("arcface_r100.onnx", "recogniser"),
        ("scrfd_person_2.5g.onnx", None),
        ("scrfd_nms.onnx", None),
        ("2d106det.onnx", None),
        ("model.onnx", None),
    ],
)
def test_role_of_name(name: str, role: str | None) -> None:
    assert registry.role_of_name(name) == role
