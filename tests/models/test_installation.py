"""A pack is installed whole and checked, or not at all."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index.config import DEFAULT_PACK
from facesim_index.errors import ModelError, StorageError
from facesim_index.models import download
from facesim_index.models.download import download_pack, unpack
from facesim_index.models.installation import install
from facesim_index.models.pack import MANIFEST_NAME
from facesim_index.models.resolution import resolve, verify
from tests.models.small_packs import (
    DETECTOR,
    PAIR,
    RECOGNISER,
    fetching,
    make_folder,
    make_zip,
    names_below,
    no_fetch,
    sha256,
)

# Installing from the network


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


# Installing from a folder or a zip file


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
