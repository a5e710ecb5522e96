"""The tables of published packs agree with themselves."""

import pytest

from facesim_index.models import registry
from facesim_index.models.registry import PUBLISHED_PACKS


def test_tables_agree_with_themselves() -> None:
    for name, pack in PUBLISHED_PACKS.items():
        free = name == registry.FREE_PACK
        for file, role in ((pack.detector, "detector"), (pack.recogniser, "recogniser")):
            assert len(bytes.fromhex(file.sha256)) == 32
            assert registry.role_of_name(file.file_name) == role
            assert registry.role_of_hash(file.sha256) == role
            assert file.sha256 in registry.published_hashes(file.file_name)
            licence = registry.licence_of(file.sha256)
            assert licence == (registry.FREE_LICENCE if free else registry.INSIGHTFACE_LICENCE)
            use = "commercial use" if free else "research only"
            assert registry.allowed_use(licence) == use
        assert registry.published_dimension(pack.recogniser.sha256) == (128 if free else 512)


def test_a_file_that_is_not_free_is_not_made_so_by_its_neighbour() -> None:
    free = PUBLISHED_PACKS[registry.FREE_PACK]
    theirs = PUBLISHED_PACKS["buffalo_l"]
    licence = registry.licence_of
    assert licence(free.detector.sha256, theirs.recogniser.sha256) == registry.INSIGHTFACE_LICENCE
    assert licence(theirs.detector.sha256, free.recogniser.sha256) == registry.INSIGHTFACE_LICENCE
    assert licence(free.detector.sha256, "0" * 64) == registry.UNKNOWN_LICENCE
    assert registry.allowed_use(registry.UNKNOWN_LICENCE) == "not known"


def test_packaged_files_are_those_of_their_packs() -> None:
    for name, files in registry.PACKAGED_FILES.items():
        pack = PUBLISHED_PACKS[name]
        pair = [pack.detector.file_name, pack.recogniser.file_name]
        assert [file.file_name for file in files] == pair
        for file in files:
            assert len(bytes.fromhex(file.wheel_sha256)) == 32
            assert "==" in file.requirement


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("det_10g.onnx", "detector"),
        ("SCRFD_34g.ONNX", "detector"),
        ("arcface_r100.onnx", "recogniser"),
        ("scrfd_person_2.5g.onnx", None),
        ("scrfd_nms.onnx", None),
        ("centerface.onnx", "detector"),
        ("dlib_face_recognition_resnet_model_v1.dat", "recogniser"),
        ("shape_predictor_5_face_landmarks.dat", None),
        ("mmod_human_face_detector.dat", None),
        ("2d106det.onnx", None),
        ("model.onnx", None),
    ],
)
def test_role_of_name(name: str, role: str | None) -> None:
    assert registry.role_of_name(name) == role
