"""Promise 9: an index is its owner's alone, stays on the machine, and can truly forget."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from facesim_index.calibration.document import to_json
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.doctor import check_privacy
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.errors import CalibrationError, IndexDamagedError, StorageError, UsageError
from facesim_index.index import FaceIndex
from facesim_index.people.edits import (
    confirm_faces,
    merge_people,
    move_faces,
    name_person,
    split_person,
    undo,
)
from facesim_index.records import (
    Box,
    EmbeddedFace,
    FaceId,
    FileStamp,
    Float32Array,
    PictureInfo,
    PictureReading,
    Quality,
)
from facesim_index.store.catalog import (
    audit_log,
    calibration_rows,
    face_rows,
    index_state,
    people_rows,
    writing,
)
from facesim_index.store.folder.snapshots import take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments.coarse import write_coarse
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from facesim_index.utils.permissions import open_to_others
from tests.asking import find_person, verify
from tests.builders import FAKE, FunctionReader, commit_pictures, ingest, new_store, unit_vectors
from tests.example_pictures import demo_picture, embed_faces, fake_photo, pixels

ROOT = Path(__file__).resolve().parents[2]
RED, DARK_RED, GREEN, BLUE = (200, 20, 20), (203, 22, 25), (20, 200, 20), (20, 20, 200)

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights than modes")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of a folder and of everything in it."""
    found = [folder, *folder.rglob("*")]
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in found
        if not path.is_symlink()
    }


def assert_private(folder: Path) -> None:
    wrong = {
        name: oct(mode)
        for name, mode in modes(folder).items()
        if mode != (0o700 if (folder / name).is_dir() else 0o600)
    }
    assert wrong == {}


def facesim(index: Path, *words: object) -> Result:
    """Run the command line in this process, with the fake engine."""
    command = ["--index", str(index), *(str(word) for word in words)]
    return CliRunner().invoke(main, command, obj=State(engine=FAKE), catch_exceptions=False)


@pytest.fixture
def small_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give segments of ten faces coarse codes."""
    monkeypatch.setattr("facesim_index.store.segments.coarse.COARSE_MIN_ROWS", 10)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "red.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "red copy.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "blue.png").write_bytes(fake_photo([BLUE]))
    return folder


# Nobody else may read it


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077, 0o777])
def test_every_file_is_private_whatever_the_umask(
    tmp_path: Path, photos: Path, mask: int, small_coarse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "deep" / "down" / "i.facesim"
    index.parent.mkdir(parents=True)
    temporary: list[int] = []
    replace = os.replace

    def look(source: str, target: Path) -> None:
        temporary.append(stat.S_IMODE(os.stat(source).st_mode))  # noqa: PTH116
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    with umask(mask), new_store(index) as store:
        ingest(store, photos)
        commit_pictures(store, {"/p/many.jpg": person(0, 12).reading})
        store.remove([], face_ids=[FaceId(1)])
        store.compact()
        with FolderStore(index) as reader, reader.view():
            names = modes(index)
            assert_private(index)
    assert {"catalog.sqlite3-wal", "catalog.sqlite3-shm", "LOCK", "LOCK.holder"} <= names.keys()
    assert any(name.endswith(".coarse") for name in names)
    assert temporary
    assert set(temporary) == {0o600}
    with umask(mask), FolderStore(index, writable=True):
        assert_private(index)
    assert_private(index)


@posix
def test_folders_above_the_index_are_made_as_usual(tmp_path: Path) -> None:
    with umask(0o022):
        new_store(tmp_path / "a" / "i.facesim").close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert_private(tmp_path / "a" / "i.facesim")


@posix
def test_an_index_that_is_open_to_others_is_told_and_closed_by_the_next_writer(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = tmp_path / "i.facesim"
    with new_store(index) as store:
        ingest(store, photos)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    outside.chmod(0o644)
    (index / "link").symlink_to(outside)
    for path in (index, *index.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o664)
    FolderStore(index).close()
    assert modes(index)["catalog.sqlite3"] == 0o664, "a reader changes nothing"
    told = check_privacy(index)
    assert told.status == "warning"
    assert f"chmod -R go= {index}" in told.mend
    FolderStore(index, writable=True).close()
    assert_private(index)
    assert f"{index} could be read by others" in caplog.text
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644, "links are not followed"
    assert check_privacy(index).status == "ok"
    caplog.clear()
    FolderStore(index, writable=True).close()
    assert "could be read" not in caplog.text


@posix
def test_a_writer_who_may_not_close_the_index_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system without rights, or in a folder of somebody else."""
    new_store(tmp_path / "i").close()
    (tmp_path / "i" / "catalog.sqlite3").chmod(0o644)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    FolderStore(tmp_path / "i", writable=True).close()
    assert "catalog.sqlite3 can be read by others" in caplog.text


@posix
def test_a_disk_that_knows_no_rights_can_hold_an_index(
    tmp_path: Path,
    photos: Path,
    small_coarse: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As FAT: every change of a mode is refused, and everything is open to all."""

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    chmod = os.chmod
    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    with new_store(tmp_path / "i") as store:
        ingest(store, photos)
        commit_pictures(store, {"/p/many.jpg": person(0, 12).reading})
    chmod(tmp_path / "i" / "catalog.sqlite3", 0o777)
    with FolderStore(tmp_path / "i", writable=True) as store:
        store.remove([], face_ids=[FaceId(1)])
        store.compact()
        assert not verify(store).problems
    assert "catalog.sqlite3 can be read by others, and the system does not let" in caplog.text


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_an_export_follows_the_umask(tmp_path: Path, photos: Path, mask: int, mode: int) -> None:
    index, out = tmp_path / "i", tmp_path / "faces.csv"
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with umask(mask):
        assert facesim(index, "export", "faces", out).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == mode


@posix
def test_who_is_in_which_picture_is_for_the_owner_alone(tmp_path: Path, photos: Path) -> None:
    """Exports of people; beside a picture a sidecar is for those who may read the picture."""
    index, out = tmp_path / "i", tmp_path / "out"
    (photos / "red.png").chmod(0o640)
    (photos / "red copy.png").chmod(0o600)
    (photos / "couple.png").chmod(0o666)
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with FaceIndex.open(index) as opened:
        opened.people.confirm({"Rosa": opened.face_ids().tolist()})
    out.mkdir(mode=0o755)
    with umask(0o022):
        assert facesim(index, "export", "people", out / "people.csv").exit_code == 0
        assert facesim(index, "export", "sidecars", out / "new" / "names").exit_code == 0
        assert facesim(index, "export", "sidecars", "--beside").exit_code == 0
        assert facesim(index, "people", "list").exit_code == 0
    assert stat.S_IMODE((out / "people.csv").stat().st_mode) == 0o600
    assert_private(out / "new")
    assert len(list((out / "new" / "names").glob("*.xmp"))) == 4
    assert stat.S_IMODE(out.stat().st_mode) == 0o755, "what was there stays as it was"
    beside = {name: mode for name, mode in modes(photos).items() if name.endswith(".xmp")}
    assert beside == {
        **{"red.png.xmp": 0o640, "red copy.png.xmp": 0o600},
        **{"couple.png.xmp": 0o644, "blue.png.xmp": 0o644},
    }
    with umask(0o077):
        assert facesim(index, "export", "sidecars", "--beside").exit_code == 0
    assert modes(photos)["couple.png.xmp"] == 0o600, "the umask counts, too"


# Nothing leaves the machine


HOOK = """
import os, sys
_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def _hook(event, args):
    if event.startswith("socket."):
        os.write(_log, f"{os.getpid()} {event} {args!r}\\n".encode())
sys.addaudithook(_hook)
os.write(_log, b"%d hooked\\n" % os.getpid())
"""


@dataclass(frozen=True)
class Watched:
    """What came of a program that was watched, and what was not possible here."""

    code: int
    output: str
    hooks: list[str]
    calls: list[str] | None


def without_network() -> list[str] | None:
    """Return the command that cuts a program off from every network, if there is one here."""
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], check=False).returncode:
            continue
        return command if shutil.which("unshare") else None
    return None


def tracer(log: Path) -> list[str] | None:
    """Return the command that records the network's system calls, if there is one here."""
    command = ["strace", "-f", "-qq", "-e", "trace=%network", "-e", "signal=none", "-o", str(log)]
    if not shutil.which("strace"):
        return None
    return None if subprocess.run([*command, "true"], check=False).returncode else command


def watch(folder: Path, *program: str) -> Watched:
    """Run a Python program, without a network and traced where that can be done."""
    folder.mkdir()
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    hooks, calls = folder / "hooks.txt", folder / "calls.txt"
    trace = tracer(calls)
    done = subprocess.run(
        [*(without_network() or []), *(trace or []), sys.executable, *program],
        env={
            **os.environ,
            "AUDIT_LOG": str(hooks),
            "PYTHONPATH": os.pathsep.join([str(folder / "hook"), str(ROOT)]),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Watched(
        done.returncode,
        done.stdout,
        hooks.read_text().splitlines(),
        calls.read_text().splitlines() if trace else None,
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The whole job, run once."""
    folder = tmp_path_factory.mktemp("job")
    script = Path(__file__).with_name("whole_job.py")
    return watch(folder / "watched", str(script), str(folder))


def test_the_whole_job_needs_no_network(job: Watched) -> None:
    if without_network() is None:
        pytest.skip("no network namespace can be made here")
    assert job.code == 0, job.output
    assert job.output.rstrip().endswith("all done")
    for word in (
        *("ingest", "query", "export matrix", "calibrate --people", "evaluate", "--secure"),
        *("people cluster", "query --person", "export people", "export sidecars"),
    ):
        assert re.search(rf"^0 .*{word}", job.output, re.MULTILINE), word


def test_the_whole_job_opens_no_socket(job: Watched) -> None:
    assert job.code == 0, job.output
    hooked = {line.split()[0] for line in job.hooks if line.endswith(" hooked")}
    assert len(hooked) >= 3, "the workers are watched, too"
    assert [line for line in job.hooks if not line.endswith(" hooked")] == []


def test_no_library_of_the_whole_job_opens_a_socket_behind_our_back(job: Watched) -> None:
    if job.calls is None:
        pytest.skip("system calls cannot be traced here: no strace, or it is not allowed")
    assert job.code == 0, job.output
    assert job.calls == []


def test_a_connection_would_have_been_noticed(tmp_path: Path) -> None:
    """The same watch over a program that does what it should not, once behind Python's back."""
    script = (
        "import ctypes, socket\n"
        "ctypes.CDLL(None).socket(2, 1, 0)\n"
        "s = socket.socket()\n"
        "s.settimeout(0.2)\n"
        "print(s.connect_ex(('127.0.0.1', 9)), s.connect_ex(('192.0.2.1', 9)))\n"
    )
    seen = watch(tmp_path / "watched", "-c", script)
    assert seen.code == 0, seen.output
    assert any("socket.__new__" in line for line in seen.hooks)
    assert any("socket.connect" in line and "192.0.2.1" in line for line in seen.hooks)
    if without_network():
        assert "0" not in seen.output.split()
    if seen.calls is not None:
        opened = [line for line in seen.calls if re.search(r"\bsocket\(AF_INET", line)]
        assert len(opened) == 2


# No picture is kept


def test_the_index_holds_no_picture_and_no_crop(tmp_path: Path) -> None:
    index, folder = tmp_path / "i.facesim", tmp_path / "photos"
    folder.mkdir()
    sources = [demo_picture("yaoming.jpg"), demo_picture("astronaut.png")]
    for source in sources:
        shutil.copy2(source, folder)
    words = ["--index", str(index), "ingest", str(folder), "--workers", "1", "--json"]
    summary = json.loads(CliRunner().invoke(main, words, catch_exceptions=False).stdout)
    assert summary["faces_added"] == 2
    needles = {"JPEG": b"\xff\xd8\xff\xe0", "JPEG, EXIF": b"\xff\xd8\xff\xe1"}
    needles |= {"PNG": b"\x89PNG\r\n", "WebP": b"WEBPVP8", "AVIF": b"ftypavif"}
    for source in sources:
        data, rgb = source.read_bytes(), pixels(source)
        middle = len(data) // 2
        row = rgb[rgb.shape[0] // 2, rgb.shape[1] // 3 :][:24]
        needles[f"bytes of {source.name}"] = data[middle : middle + 32]
        needles[f"pixels of {source.name}"] = row.tobytes()
        needles[f"BGR pixels of {source.name}"] = np.ascontiguousarray(row[:, ::-1]).tobytes()
        needles[f"grey levels of {source.name}"] = np.ascontiguousarray(row[:, 1]).tobytes()
    assert traces(index, needles) == {}
    everything = {"its name": b"astronaut.png"}
    assert traces(index, everything), "the search finds what is there"


# Forgetting leaves no trace


@dataclass(frozen=True)
class Person:
    """A picture of one person's faces, and every way in which an index could keep it."""

    path: str
    reading: PictureReading
    needles: Mapping[str, bytes]


def person(seed: int, n_faces: int) -> Person:
    """Return a picture whose every number is unmistakable."""
    rng = np.random.default_rng(10_000 + seed)
    needles: dict[str, bytes] = {}
    faces = []
    for n, embedding in enumerate(unit_vectors(n_faces, 500 + seed)):
        x, y, w, h, detection, sharpness = (float(value) for value in rng.uniform(0.1, 0.9, 6))
        landmarks = rng.uniform(1, 99, (5, 2)).astype(np.float32)
        box = Box(100 + x, 200 + y, 30 + w, 40 + h)
        quality = Quality(30 + w, 100 + sharpness, 1.5, -2.5)
        faces.append(EmbeddedFace(box, landmarks, detection, quality, embedding))
        needles[f"fp16 of face {n}"] = embedding.astype(np.float16).tobytes()
        needles[f"part of the fp16 of face {n}"] = embedding.astype(np.float16)[100:108].tobytes()
        needles[f"landmarks of face {n}"] = landmarks.astype("<f4").tobytes()
        for name, value in (("x", box.x), ("y", box.y), ("w", box.w), ("detection", detection)):
            needles[f"{name} of face {n}"] = struct.pack(">d", value)
    content = rng.bytes(32)
    name = f"Zoë and Ünal {seed}.jpg"
    folder = f"/home/nobody/private {seed}"
    needles["path"] = f"{folder}".encode()
    needles["name"] = name.encode()
    needles["content hash"] = content
    info = PictureInfo(640, 480, "JPEG", f"1999-07-04T12:30:{seed % 60:02d}")
    needles["time taken"] = info.taken_at.encode() if info.taken_at else b"?"
    stamp = FileStamp(1_234_567 + seed, 1_600_000_000_123_456_789 + seed)
    needles["mtime"] = struct.pack(">q", stamp.mtime_ns)
    reading_ = PictureReading(content, stamp, info, tuple(faces), None)
    return Person(f"{folder}/{name}", reading_, needles)


#: Never written anywhere, and looked for all the same.
def absent_forms(who: Person) -> dict[str, bytes]:
    vectors = [face.embedding for face in who.reading.faces]
    forms = {f"fp32 of face {n}": vector[:16].tobytes() for n, vector in enumerate(vectors)}
    forms |= {f"hash as hex, {n}": form for n, form in enumerate(_hex(who.reading.content_hash))}
    return forms


def _hex(content: bytes) -> tuple[bytes, bytes]:
    return content.hex().encode(), content.hex().upper().encode()


def traces(folder: Path, needles: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Return which needles are in which files of an index, whatever the files are."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for name, needle in needles.items():
            if needle in data or (name == "path" and needle in str(path).encode()):
                found.setdefault(name, []).append(path.name)
    return found


FORGOTTEN = person(1, 2)
OTHERS = [person(seed, 3) for seed in range(2, 8)]


def remember(folder: Path) -> FolderStore:
    """Make an index with the person to forget and others, told about in every table."""
    store = new_store(folder)
    for who in (*OTHERS[:3], FORGOTTEN, *OTHERS[3:]):
        commit_pictures(store, {who.path: who.reading})
        with store.catalog.write() as transaction:
            writing.put_root(transaction, str(Path(who.path).parent))
    with store.catalog.write() as transaction:
        options = json.dumps({"exclude": [FORGOTTEN.path]}, ensure_ascii=False)
        run = writing.start_run(transaction, "1", options)
        summary = {"files_seen": 9, "warnings": [f"cannot enter {FORGOTTEN.path}"]}
        writing.finish_run(transaction, run, json.dumps(summary, ensure_ascii=False))
        estimate = index_state.PriorEstimate(1, "c", "0" * 64, 0.1, 0.05, 0.2, 20, 20, 190, "EM")
        writing.put_prior_estimate(transaction, estimate)
    store.compact()  # one segment for all, with coarse codes
    return store


@pytest.fixture
def told(tmp_path: Path, small_coarse: None) -> Iterator[FolderStore]:
    """`remember`, open for writing."""
    with remember(tmp_path / "i.facesim") as store:
        yield store


def assert_only_the_others(index: Path) -> None:
    """Every trace of the forgotten is gone, and nobody else is harmed."""
    assert traces(index, {**FORGOTTEN.needles, **absent_forms(FORGOTTEN)}) == {}
    with FolderStore(index) as store, store.view() as view:
        assert not verify(store).problems
        ids = face_rows.face_ids(view.transaction)
        records = face_rows.faces(view.transaction, ids)
        assert sorted({record.path for record in records}) == sorted(who.path for who in OTHERS)
        assert len(ids) == 18
        for record, stored in zip(records, view.embeddings(ids), strict=True):
            [who] = [who for who in OTHERS if who.path == record.path]
            given: Float32Array = who.reading.faces[record.ordinal].embedding
            assert np.array_equal(stored, given.astype(np.float16).astype(np.float32))
    for who in OTHERS:
        assert len(traces(index, who.needles)) == len(who.needles)


def test_a_secure_forget_leaves_no_trace(told: FolderStore, tmp_path: Path) -> None:
    index = told.folder
    before = traces(index, FORGOTTEN.needles)
    assert set(before) == set(FORGOTTEN.needles), "all of it can be found before"
    [old] = [path.name for path in (index / "segments").glob("*.faiss")]
    assert old.replace("faiss", "coarse") in {path.name for path in (index / "segments").iterdir()}

    done = forget(told, [Path(FORGOTTEN.path)], [], secure=True)

    assert (done.files, done.faces) == (1, 2)
    assert traces(index, {**FORGOTTEN.needles, **absent_forms(FORGOTTEN)}) == {}, "while open"
    assert not (index / "segments" / old).exists()
    told.close()
    assert_only_the_others(index)
    with FolderStore(index) as store, store.catalog.read() as transaction:
        [line] = audit_log.lines(transaction)
        summaries = transaction.exec_driver_sql("SELECT options, summary FROM ingest_run").all()
    assert (line.files, line.faces, line.secure, line.finished) == (1, 2, True, True)
    assert summaries == [("{}", '{"files_seen": 9, "warnings": []}')]


NAMES = ("Xanthippe Unmistakable", "Xanthippe Before", "Xanthippe Ümläut", "Quetzal Someoneelse")


def remember_people(store: FolderStore) -> dict[str, bytes]:
    """Say who everybody is, in every table that can hold a name; return the names to search for.

    The faces 10 and 11 are those to forget.
    """
    confirm_faces(store, {NAMES[1]: [10, 11], "Ordinary Other": [1, 2, 3], "Third": [4, 12]})
    name_person(store, NAMES[1], NAMES[0])
    move_faces(store, [11], None)
    name_person(store, 4, NAMES[3])
    merge_people(store, [NAMES[0], NAMES[3]])
    name_person(store, NAMES[0], None)
    undo(store)
    name_person(store, NAMES[0], NAMES[2])
    split_person(store, NAMES[2], [11])
    with store.catalog.write() as transaction:
        change = people_rows.Change(transaction, "apart")
        change.set_apart(3, 10)
        change.set_apart(11, 12)
    return {name: name.encode() for name in NAMES}


@pytest.mark.parametrize("by", ["picture", "faces"])
def test_a_secure_forget_leaves_no_name_of_whom_nothing_is_left(told: FolderStore, by: str) -> None:
    index, names = told.folder, remember_people(told)
    assert set(traces(index, names)) == set(NAMES), "all of it can be found before"
    whole = {"other": b"Ordinary Other", "third": b"Third"}

    if by == "picture":
        forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    else:
        forget(told, [], [FaceId(10), FaceId(11)], secure=True)

    assert traces(index, names) == {}, "while open"
    told.close()
    assert traces(index, names) == {}
    assert set(traces(index, whole)) == set(whole), "the names of others stay"
    with contextlib.closing(sqlite3.connect(index / "catalog.sqlite3")) as database:
        assert database.execute("PRAGMA freelist_count").fetchone() == (0,)
        for table, columns in (
            *(("face_person", "face_id"), ("people_change_face", "face_id")),
            *(("faces_apart", "face_a, face_b"), ("people_change_apart", "face_a, face_b")),
        ):
            rows = database.execute(f"SELECT {columns} FROM {table}").fetchall()
            assert not {face for row in rows for face in row} & {10, 11}, table
        people_left = database.execute("SELECT name FROM person ORDER BY id").fetchall()
    assert people_left == [("Ordinary Other",), ("Third",)]
    with FolderStore(index, writable=True) as store:
        assert not verify(store).problems
        while undo(store):
            pass
        assert not verify(store).problems
    assert traces(index, names) == {}


def test_a_name_stays_as_long_as_a_face_of_the_person_does(told: FolderStore) -> None:
    names = remember_people(told)
    forget(told, [], [FaceId(11)], secure=True)
    left = traces(told.folder, names)
    assert NAMES[2] in left
    assert NAMES[3] not in left, "who had only that face"
    forget(told, [], [FaceId(10)], secure=True)
    assert traces(told.folder, names) == {}


def test_a_secure_forget_removes_a_kept_log_and_names_the_snapshots(
    told: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    take_snapshot(told.folder, tmp_path / "before")
    aside = told.folder / "catalog.sqlite3-wal.damaged"
    aside.write_bytes(FORGOTTEN.path.encode())
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    assert not aside.exists()
    assert f"the snapshot {tmp_path / 'before'} still holds" in caplog.text
    assert "is no part of the index" not in caplog.text
    assert traces(told.folder, FORGOTTEN.needles) == {}
    assert open_to_others(told.folder) == []


def test_coarse_codes_are_those_of_the_others_alone(told: FolderStore, tmp_path: Path) -> None:
    """Codes of one face are spread over a block, so they are compared as a whole."""
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    with told.view() as view:
        [segment] = view.segments
        [info] = index_state.segment_infos(view.transaction)
        again = write_coarse(
            tmp_path / info.name, info.sha256, segment.face_ids, segment.vectors.copy()
        )
    kept = told.folder / "segments" / again.name
    assert kept.read_bytes() == again.read_bytes()


def test_a_plain_forget_hides_at_once_and_compact_erases_the_embeddings(told: FolderStore) -> None:
    vectors = {name: needle for name, needle in FORGOTTEN.needles.items() if "fp16" in name}
    forget(told, [Path(FORGOTTEN.path)], [])
    assert set(traces(told.folder, vectors)) == set(vectors), "a plain forget is quick"
    told.compact()
    told.close()
    assert traces(told.folder, vectors) == {}
    with FolderStore(told.folder) as store, store.catalog.read() as transaction:
        [line] = audit_log.lines(transaction)
    assert (line.secure, line.finished) == (False, True)


def test_a_securely_forgotten_face_leaves_its_picture(told: FolderStore) -> None:
    """The picture stays known, or the next ingest would find the face again."""
    forget(told, [], [FaceId(10)], secure=True)
    told.close()
    left = traces(told.folder, FORGOTTEN.needles)
    assert {name for name in left if "of face 0" in name} == set()
    assert {"path", "name", "content hash", "x of face 1", "fp16 of face 1"} <= set(left)


def test_what_was_forgotten_plainly_before_is_erased_too(told: FolderStore) -> None:
    forget(told, [Path(FORGOTTEN.path)], [])
    forget(told, [Path(OTHERS[0].path)], [], secure=True)
    told.close()
    assert traces(told.folder, FORGOTTEN.needles) == {}
    assert traces(told.folder, OTHERS[0].needles) == {}


def test_a_copy_keeps_the_picture_but_not_the_forgotten_path(told: FolderStore) -> None:
    copy = "/elsewhere/copy.jpg"
    commit_pictures(told, {copy: FORGOTTEN.reading})
    done = forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    told.close()
    assert (done.files, done.faces) == (1, 0)
    left = traces(told.folder, FORGOTTEN.needles)
    assert "path" not in left
    assert "name" not in left
    assert "fp16 of face 0" in left


def test_pages_are_written_anew(told: FolderStore) -> None:
    """What was deleted by something that did not overwrite it, as SQLite does by itself."""
    needle = {"deleted": b"deleted long ago by somebody else"}
    other = sqlite3.connect(told.folder / "catalog.sqlite3", isolation_level=None)
    other.execute("PRAGMA secure_delete=OFF")
    other.execute("CREATE TABLE t (x)")
    other.execute("INSERT INTO t VALUES (?)", [needle["deleted"] * 500])
    other.execute("DROP TABLE t")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    assert traces(told.folder, needle)
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    assert traces(told.folder, needle) == {}


def test_faces_and_files_are_forgotten_in_one_commit(
    told: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> int:
        raise StorageError("the disk is full")

    monkeypatch.setattr(writing, "remove_files", fail)
    with pytest.raises(StorageError, match="full"):
        forget(told, [Path(FORGOTTEN.path)], [FaceId(1)])
    with told.catalog.read() as transaction:
        assert 1 in face_rows.face_ids(transaction)
        assert audit_log.lines(transaction) == ()


def test_foreign_files_in_the_index_are_named(
    told: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    (told.folder / "old copy.sqlite3").write_bytes(b"who knows")
    forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    assert "old copy.sqlite3 is no part of the index" in caplog.text


SEGMENT_FOLDER = "facesim_index.store.folder.segment_folder.SegmentFolder"
CRASHES: dict[str, str] = {
    "after the rows are gone": "facesim_index.store.catalog.audit_log.clear_histories",
    "before a new segment": "facesim_index.store.segments.writer.write_segment",
    "before old files go": f"{SEGMENT_FOLDER}.drop_files",
    "before the vacuum": "facesim_index.store.sqlite.connection.Catalog.shrink",
    "before the new coarse codes": f"{SEGMENT_FOLDER}._write_coarse",
    "before the log is cut": "facesim_index.store.sqlite.connection.Catalog.empty_log",
    "before it is on record": "facesim_index.store.catalog.audit_log.finish",
}

KILLED = """
import os, pkgutil, signal, sys
from pathlib import Path
from facesim_index.store.folder import segment_folder
from facesim_index.store.segments import coarse
coarse.COARSE_MIN_ROWS = 10
index, path, target = sys.argv[1:]
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
owner, name = target.rsplit(".", 1)
setattr(pkgutil.resolve_name(owner), name, die)
if hasattr(segment_folder, name):
    setattr(segment_folder, name, die)
from facesim_index.upkeep.forgetting import forget
from facesim_index.store.opening import open_store
forget(open_store(Path(index), writable=True), [Path(path)], [], secure=True)
"""


@posix
@pytest.mark.parametrize("moment", CRASHES)
def test_the_next_writer_finishes_a_secure_forget_that_was_killed(
    tmp_path: Path, small_coarse: None, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    index = tmp_path / "i.facesim"
    remember(index).close()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(index), FORGOTTEN.path, CRASHES[moment]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    told = facesim(index, "status")
    assert "facesim compact` finishes it" in told.stderr
    [line] = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert (line["secure"], line["finished"]) == (True, False)

    FolderStore(index, writable=True).close()

    assert "erased what an interrupted `facesim forget --secure` had left" in caplog.text
    assert_only_the_others(index)
    [line] = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert (line["faces"], line["finished"]) == (2, True)


def test_a_reader_that_needs_the_old_state_delays_it(
    tmp_path: Path, small_coarse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facesim_index.store.sqlite.connection.BUSY_TIMEOUT_MS", 50)
    index = tmp_path / "i.facesim"
    remember(index).close()
    with FolderStore(index) as reader, reader.view() as view:
        with (
            FolderStore(index, writable=True) as writer,
            pytest.raises(StorageError, match=r"a reader still uses .* run `facesim compact`"),
        ):
            forget(writer, [Path(FORGOTTEN.path)], [], secure=True)
        query = FORGOTTEN.reading.faces[0].embedding[None]
        [found] = view.search(query, 1)
        assert found.face_ids.tolist() == [10], "the reader keeps its moment"
        with reader.catalog.read() as later:
            assert 10 not in face_rows.face_ids(later)
            assert audit_log.unfinished(later) == 1
    assert facesim(index, "compact").exit_code == 0
    assert_only_the_others(index)


def test_a_reader_that_only_has_files_open_delays_nothing(told: FolderStore) -> None:
    with FolderStore(told.folder) as reader:
        with reader.view() as view:
            assert len(view.segments) == 1
        forget(told, [Path(FORGOTTEN.path)], [], secure=True)
        assert traces(told.folder, FORGOTTEN.needles) == {}
        with reader.view() as view:
            [found] = view.search(FORGOTTEN.reading.faces[0].embedding[None], 1)
            assert found.cosines[0] < 0.9


def test_an_old_segment_that_cannot_be_removed_is_told(
    told: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, while a reader has it mapped."""
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".faiss":
            raise PermissionError(13, "it is in use", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StorageError, match=r"cannot remove .*\.faiss: it is in use"):
            forget(told, [Path(FORGOTTEN.path)], [], secure=True)
    with told.catalog.read() as transaction:
        assert audit_log.unfinished(transaction) == 1
    told.close()
    FolderStore(told.folder, writable=True).close()
    assert_only_the_others(told.folder)


def test_a_damaged_segment_is_told_and_repair_is_not_in_the_way(told: FolderStore) -> None:
    index = told.folder
    [segment] = (index / "segments").glob("*.faiss")
    told.close()
    segment.write_bytes(segment.read_bytes()[:-5000])
    with (
        FolderStore(index, writable=True) as store,
        pytest.raises(IndexDamagedError, match="verify --repair"),
    ):
        forget(store, [Path(FORGOTTEN.path)], [], secure=True)
    with FolderStore(index, writable=True) as store:  # cannot finish, but opens
        repair(store, verify(store), FunctionReader(lambda paths: iter(())))
    FolderStore(index, writable=True).close()
    assert traces(index, FORGOTTEN.needles) == {}
    [line] = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert line["finished"]


# A person, wherever they appear


CURVE = Calibration(
    name="by hand",
    engine_key=FAKE_IDENTITY.key,
    method="by hand",
    knots=((0.2, -3.0), (0.8, 3.0)),
    evidence=Evidence(data="none", n_people=2, n_genuine=1, n_impostor=1, fitted_on="2021-01-01"),
)


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Path:
    """Red twice, one of them in two files; green beside red; blue."""
    folder = tmp_path / "i.facesim"
    with new_store(folder) as store:
        with store.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
        ingest(store, photos)
    return folder


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    """Red again, not in the index."""
    path = tmp_path / "portrait.png"
    path.write_bytes(fake_photo([(201, 23, 22)]))
    return path


def living(index: Path) -> dict[int, str]:
    with FolderStore(index) as store, store.catalog.read() as transaction:
        ids = face_rows.face_ids(transaction)
        return {face.face_id: Path(face.path).name for face in face_rows.faces(transaction, ids)}


MATCH = ("forget", "--prior", "0.5", "--min-degree", "0.9", "--match")


def test_a_person_is_shown_and_forgotten_wherever_they_appear(index: Path, portrait: Path) -> None:
    before = living(index)
    shown = facesim(index, *MATCH, portrait, "--dry-run")
    assert shown.exit_code == 0
    assert "2 of 4 faces reach the degree 0.9, at prior 0.5" in shown.stdout
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["degree", "cosine", "face", "picture"]
    assert {line.split()[3].rpartition("/")[2] for line in lines[1:3]} == {"couple.png", "red"}
    assert "(+1 copies)" in shown.stdout
    assert "Nothing was forgotten" in shown.stderr
    assert living(index) == before

    done = facesim(index, *MATCH, portrait, "--yes")

    assert "forgot 0 files and 2 faces" in done.stdout
    assert sorted(living(index).values()) == ["blue.png", "couple.png"]
    again = facesim(index, *MATCH, portrait, "--yes")
    assert again.exit_code == 0
    assert again.stdout == "none of 2 faces reaches the degree 0.9\n"


def test_a_person_can_be_forgotten_with_the_pictures_and_every_trace(
    index: Path, portrait: Path, photos: Path
) -> None:
    done = facesim(index, *MATCH, portrait, "--yes", "--pictures", "--secure")
    assert "forgot 3 files and 3 faces" in done.stdout
    assert living(index) == {1: "blue.png"}
    assert traces(index, {"name": b"red copy.png", "couple": b"couple.png"}) == {}


def test_without_a_terminal_nobody_is_asked_and_nothing_forgotten(
    index: Path, portrait: Path
) -> None:
    before = living(index)
    refused = facesim(index, *MATCH, portrait)
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert living(index) == before


@pytest.mark.parametrize(("answer", "n_left"), [("n\n", 4), ("\n", 4), ("y\n", 2)])
def test_on_a_terminal_the_user_is_asked(
    index: Path, portrait: Path, monkeypatch: pytest.MonkeyPatch, answer: str, n_left: int
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    class Sys:
        stdin = Terminal()

        @staticmethod
        def exit(code: int) -> None:
            sys.exit(code)

    monkeypatch.setattr("facesim_index.cli.forget.sys", Sys)
    words = ["--index", str(index), *MATCH, str(portrait), "--secure"]
    result = CliRunner().invoke(
        main, words, input=answer, obj=State(engine=FAKE), catch_exceptions=False
    )
    assert "Forget these 2 faces, leaving no trace? [y/N]" in result.stderr
    assert len(living(index)) == n_left
    assert result.exit_code == (0 if n_left == 2 else 1)
    assert ("Nothing was forgotten" in result.stderr) == (n_left == 4)


def test_of_several_faces_one_must_be_named(index: Path, photos: Path) -> None:
    refused = facesim(index, *MATCH, photos / "couple.png", "--dry-run")
    assert refused.exit_code == 2
    assert "shows 2 faces; say which with --face, from 0 to 1, left to right" in refused.stderr
    green = facesim(index, *MATCH, photos / "couple.png", "--face", "1", "--dry-run")
    assert "1 of 4 faces reach" in green.stdout
    assert "couple.png" in green.stdout
    assert facesim(index, *MATCH, photos / "couple.png", "--face", "2", "--yes").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--match", "{portrait}", "--yes"),
        ("--match", "{portrait}", "--min-degree", "0", "--yes"),
        ("--match", "{portrait}", "--min-degree", "1.5", "--yes"),
        ("--match", "{portrait}", "--min-degree", "0.9", "--face-id", "1", "--yes"),
        ("{portrait}", "--match", "{portrait}", "--min-degree", "0.9", "--yes"),
        ("{portrait}", "--dry-run"),
        ("{portrait}", "--pictures"),
        ("--face-id", "1", "--min-degree", "0.9"),
        ("--face-id", "1", "--face", "0"),
        (),
    ],
)
def test_what_does_not_fit_together_is_wrong_usage(
    index: Path, portrait: Path, words: tuple[str, ...]
) -> None:
    before = living(index)
    given = [word.format(portrait=portrait) for word in words]
    assert facesim(index, "forget", *given).exit_code == 2
    assert living(index) == before


def test_every_appearance_is_found_not_only_the_first_few(tmp_path: Path) -> None:
    """Against a plain comparison with every face, over several segments and removed faces."""
    rng = np.random.default_rng(5)
    path = tmp_path / "red.png"
    path.write_bytes(fake_photo([RED]))
    engine = FAKE.load()
    [shown] = embed_faces(engine, pixels(path))
    near = unit_vectors(900, 6) * rng.uniform(0.2, 4.0, (900, 1)).astype(np.float32)
    near += shown.embedding
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    with new_store(tmp_path / "i") as store:
        with store.catalog.write() as transaction:
            calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
            calibration_rows.activate(transaction, CURVE.name)
        for n in range(0, 900, 300):
            who = person(n, 1)
            faces = tuple(
                EmbeddedFace(Box(1, 2, 3, 4), who.reading.faces[0].landmarks, 0.9, _QUALITY, row)
                for row in near[n : n + 300]
            )
            reading_ = PictureReading(
                who.reading.content_hash, FileStamp(1, 1), who.reading.info, faces, None
            )
            commit_pictures(store, {who.path: reading_})
        store.remove([], face_ids=[FaceId(n) for n in range(1, 50)])
        found = find_person(store, engine, path, min_degree=0.5, prior=0.5)
    stored = near.astype(np.float16).astype(np.float64)
    cosines = stored @ shown.embedding.astype(np.float64)
    expected = {n + 1 for n in np.flatnonzero(cosines >= 0.5) if n + 1 >= 50}
    assert 100 < len(expected) < 800
    assert {match.face_id for match in found.matches} == expected
    ordered = [match.cosine for match in found.matches]
    assert ordered == sorted(ordered, reverse=True)
    assert found.n_faces == 851
    assert min(match.degree or 0.0 for match in found.matches) >= 0.5


_QUALITY = Quality(30.0, 100.0, 1.5, -2.5)


def test_finding_a_person_needs_a_calibration_and_a_sensible_degree(
    tmp_path: Path, photos: Path
) -> None:
    engine = FAKE.load()
    with new_store(tmp_path / "none") as store:
        ingest(store, photos)
        with pytest.raises(CalibrationError, match="nobody can be found by degree"):
            find_person(store, engine, photos / "red.png", min_degree=0.9)
        with pytest.raises(UsageError, match="above 0"):
            find_person(store, engine, photos / "red.png", min_degree=0.0)


# On record


def test_the_audit_says_when_and_how_many_but_not_who(index: Path, photos: Path) -> None:
    assert "Nothing was ever forgotten" in facesim(index, "audit").stderr
    facesim(index, "forget", photos / "red.png")
    facesim(index, "forget", "--face-id", 1, "--secure")
    listed = json.loads(facesim(index, "audit", "--format", "json").stdout)
    assert [(line["files"], line["faces"], line["secure"]) for line in listed] == [
        (1, 0, False),
        (0, 1, True),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", x["at"]) for x in listed)
    assert all(set(line) == {"at", "files", "faces", "secure", "finished"} for line in listed)
    table = facesim(index, "audit").stdout.splitlines()
    assert table[0].split() == ["at", "files", "faces", "secure", "finished"]
    assert table[2].split()[1:] == ["0", "1", "yes", "yes"]
    csv = facesim(index, "audit", "--format", "csv").stdout.splitlines()
    assert csv[0] == "at,files,faces,secure,finished"
    assert traces(index, {"name": b"red.png"}) == {}


def test_nothing_is_on_record_when_nothing_was_forgotten(index: Path, photos: Path) -> None:
    attempts: list[Callable[[], Result]] = [
        lambda: facesim(index, "forget", photos / "nobody.png", "--secure"),
        lambda: facesim(index, "forget", "--face-id", 99, "--secure"),
    ]
    assert [attempt().exit_code for attempt in attempts] == [2, 2]
    assert json.loads(facesim(index, "audit", "--format", "json").stdout) == []
