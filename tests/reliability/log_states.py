"""Leave the write-ahead log as a crash can leave it, and as only damage can; open the index.

Real commits are recorded: the bytes of the log before, while and after SQLite writes one, and the
``-shm`` file.  States are built from them as a power cut or a kill may leave them: of each sector
of 512 bytes that the last transaction writes, either what was to be written, or what was there
before.  The index must open without a word and hold exactly what it held before or after that
commit.  Then it is written on, so that the next states have the leavings of a crash in them.  In
turn, single bytes are changed in what a crash leaves alone: that must be told.

Run ``python -m tests.reliability.log_states --seed S --states N``.
"""

import argparse
import contextlib
import hashlib
import logging
import random
import shutil
import sqlite3
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from sqlalchemy import event

from facesim_index.config import CATALOG_NAME
from facesim_index.errors import FacesimError
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import descriptors
from facesim_index.store.sqlite.wal import check_log, log_path, shared_path
from tests.builders import commit_pictures, new_store, picture, unit_vectors

SECTOR = 512
HEADER = 32
FRAME = 24 + 4096
N_COMMITS = 40
STATES_OF_A_COMMIT = 6


@dataclass(frozen=True, slots=True)
class Commit:
    """What one commit of SQLite wrote.

    Attributes
    ----------
    catalog : bytes
        The catalog's file at the time.
    logs : tuple of bytes
        The log before, at each statement, and after.
    shared : tuple of bytes
        The ``-shm`` file at earlier times since it last reached the disk, up to the commit.
    counted : bytes
        The ``-shm`` file after the commit.
    before, after : str
        What the rows said.
    first_frame : int
        The first frame that it wrote.
    end : int
        Where its last frame ends in the log.
    """

    catalog: bytes
    logs: tuple[bytes, ...]
    shared: tuple[bytes, ...]
    counted: bytes
    before: str
    after: str
    first_frame: int
    end: int

    @property
    def is_restarted(self) -> bool:
        """Whether it began the log anew, over the frames of an older one."""
        return self.logs[0][:HEADER] not in (b"", self.logs[-1][:HEADER])

    @property
    def kind(self) -> str:
        """In which sort of log it was written."""
        if self.is_restarted:
            return "over an older log"
        return "into a new log" if not self.logs[0] else "behind other commits"


def _bounds(logs: Sequence[bytes], shared: bytes) -> tuple[int, int]:
    """Return the first frame of a commit, and where its last one ends in the log."""
    data = logs[-1]
    salts = data[16:24]
    n_frames, counted_salts = struct.unpack_from("=I12x8s", shared.ljust(40), 16)
    first = number = n_frames if counted_salts == salts and logs[0] else 0
    while True:
        start = HEADER + number * FRAME
        commit, found = struct.unpack_from(">4xI8s", data, start)
        assert found == salts
        if commit:
            return first, start + FRAME
        number += 1


class Recorder:
    """Records every commit that is made through a store.

    Parameters
    ----------
    store : FolderStore
        Writable.
    """

    def __init__(self, store: FolderStore) -> None:
        self._path = store.catalog.path
        self.commits: list[Commit] = []
        self._shared: list[bytes] = []
        self._logs: list[bytes] | None = None
        self._catalog = b""
        event.listen(store.catalog._engine, "after_cursor_execute", self._look)

    def flushed(self) -> None:
        """Forget the ``-shm`` files of before: a newer one has reached the disk."""
        self._shared = []

    def _look(self, _c: object, _k: object, statement: str, *_: object) -> None:
        log, shared = (_read(self._path, side(self._path).name) for side in (log_path, shared_path))
        if statement == "BEGIN IMMEDIATE":
            self._logs = [log]
            self._catalog = _read(self._path, self._path.name)
            self._shared.append(shared)
        elif self._logs is not None and log != self._logs[-1]:
            self._logs.append(log)
        if statement == "COMMIT" and self._logs is not None:
            if len(self._logs) > 1:
                self._keep(tuple(self._logs), shared)
            self._logs = None

    def _keep(self, logs: tuple[bytes, ...], counted: bytes) -> None:
        before, after = (rows_of(self._catalog, log) for log in (logs[0], logs[-1]))
        first, end = _bounds(logs, self._shared[-1])
        shared = tuple(self._shared[-5:])
        self.commits.append(Commit(self._catalog, logs, shared, counted, before, after, first, end))


def _read(catalog: Path, name: str) -> bytes:
    try:
        return descriptors.read_file(catalog, name)
    except FileNotFoundError:
        return b""


def rows_of(catalog: bytes, log: bytes) -> str:
    """Return a mark of every row that SQLite finds in a catalog and its log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CATALOG_NAME
        path.write_bytes(catalog)
        log_path(path).write_bytes(log)
        return mark_of(path)


def mark_of(path: Path) -> str:
    """Return a mark of every row of a catalog."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in sorted(tables):
            rows = database.execute(f'SELECT * FROM "{name.decode()}"').fetchall()
            digest.update(repr((name, sorted(rows, key=repr))).encode())
    return digest.hexdigest()


class Writer:
    """Writes to an index in every way that makes another sort of log."""

    def __init__(self, store: FolderStore, chance: random.Random) -> None:
        self.store = store
        self.recorder = Recorder(store)
        self._chance = chance
        self._number = chance.randrange(10**6) * 1000

    def write(self) -> None:
        """Make one change, or move the log into the catalog."""
        draw = self._chance.random()
        if draw < 0.4:
            self._add(self._chance.randrange(1, 4))
        elif draw < 0.5:
            self._add(60)  # more than the few pages of the cache: they are written before the end
        elif draw < 0.65:
            with self.store.read() as rows:
                ids = face_rows.face_ids(rows.transaction)
            self.store.remove([], [FaceId(int(self._chance.choice(ids)))])
        elif draw < 0.96:
            self._pragma("wal_checkpoint(FULL)")  # the next commit begins the log anew
        else:
            self.store.catalog.empty_log()
            self.recorder.flushed()

    def add_one(self) -> None:
        """Commit one picture."""
        self._add(1)

    def _add(self, n: int) -> None:
        pictures = {}
        for _ in range(n):
            self._number += 1
            name = f"{self._number}"
            vectors = unit_vectors(2, self._number % 50)
            pictures[f"/p/{self._number % 97}.jpg"] = picture(name, vectors)
        commit_pictures(self.store, pictures)

    def _pragma(self, words: str) -> None:
        with self.store.catalog._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA {words}").all()


@contextlib.contextmanager
def small_caches(chance: random.Random) -> Iterator[None]:
    """Let SQLite hold few pages now and then: a transaction is then written before it ends."""
    real = descriptors.connect

    def connect(path: Path, options: str) -> sqlite3.Connection:
        connection = real(path, options)
        connection.execute(f"PRAGMA cache_size={chance.choice([12, 2000])}")
        return connection

    with mock.patch.object(descriptors, "connect", connect):
        yield


def record(folder: Path, chance: random.Random, n: int) -> list[Commit]:
    """Return the commits of some writing in a new index."""
    with new_store(folder) as store:
        writer = Writer(store, chance)
        writer.add_one()
        while len(writer.recorder.commits) < n:
            writer.write()
        return writer.recorder.commits


@dataclass(frozen=True, slots=True)
class State:
    """The files of a catalog as a crash may leave them, and how it came to them."""

    catalog: bytes
    log: bytes
    shared: bytes | None
    how: str

    def put(self, folder: Path) -> Path:
        """Make an index of it, without embeddings; return its catalog."""
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "segments").mkdir(parents=True)
        path = folder / CATALOG_NAME
        path.write_bytes(self.catalog)
        log_path(path).write_bytes(self.log)
        if self.shared is not None:
            shared_path(path).write_bytes(self.shared)
        return path


def crash(commit: Commit, chance: random.Random) -> State:
    """Return a state that a crash during a commit may leave."""
    how, log = _torn(commit, chance)
    which, shared = _shared_after_crash(commit, chance)
    return State(commit.catalog, log, shared, f"{how}, {which}")


def _torn(commit: Commit, chance: random.Random) -> tuple[str, bytes]:
    old, new = commit.logs[0], commit.logs[-1]
    draw = chance.random()
    if draw < 0.25:
        # A kill: what was written stands up to some write, of which a part may be done.
        number = chance.randrange(commit.first_frame, (commit.end - HEADER) // FRAME)
        part = chance.choice([0, 24, 24 + SECTOR * chance.randrange(9), FRAME])
        at = HEADER + number * FRAME + part
        return f"cut after {part} bytes of frame {number}", new[:at] + old[at:]
    if draw < 0.35 and len(new) > len(old):
        length = chance.randrange(len(old), len(new))
        return f"cut at {length} bytes", new[:length]
    if draw < 0.5:
        return "all but one sector", _mixed(commit, [new], 1.0, chance, n_lost=1)
    density = chance.choice([0.02, 0.3, 0.5, 0.9, 0.99])
    written = chance.choice([[new], commit.logs[1:]])
    return f"{density:.0%} of the sectors", _mixed(commit, written, density, chance)


def _mixed(
    commit: Commit,
    written: Sequence[bytes],
    density: float,
    chance: random.Random,
    *,
    n_lost: int = 0,
) -> bytes:
    """Return the log with some of its sectors as they were written, the others as before."""
    length = max(map(len, commit.logs))
    log = bytearray(commit.logs[0].ljust(length, b"\0"))
    sectors = [at for at in range(0, length, SECTOR) if chance.random() < density]
    first = HEADER + commit.first_frame * FRAME
    touched = [at for at in sectors if first - SECTOR < at < commit.end]
    for lost in chance.sample(touched, min(n_lost, len(touched))):
        sectors.remove(lost)
    for at in sectors:
        sector = chance.choice(written)[at : at + SECTOR]
        log[at : at + len(sector)] = sector
    log[:HEADER] = commit.logs[-1][:HEADER]  # it is on the disk before any frame is written
    return bytes(log)


def _shared_after_crash(commit: Commit, chance: random.Random) -> tuple[str, bytes | None]:
    draw = chance.random()
    now = commit.shared[-1]
    if draw < 0.3:
        return "-shm of that moment", begun_anew(now, commit) if commit.is_restarted else now
    if draw < 0.5:
        return "no -shm", None
    if draw < 0.7:
        return "an older -shm", chance.choice(commit.shared)
    if draw < 0.8:
        return "-shm of zeros", bytes(len(now))
    if draw < 0.9:
        return "-shm of two moments", commit.counted[:48] + now[48:]
    return "-shm cut short", now[: chance.randrange(len(now) + 1)]


def begun_anew(shared: bytes, commit: Commit) -> bytes:
    """Return a ``-shm`` file after SQLite has begun the log anew, before it counts a commit."""
    if not shared:
        return shared
    header = bytearray(shared[:40])
    header[16:20] = bytes(4)  # no frames
    header[32:40] = commit.logs[-1][16:24]
    sums = [0, 0]
    for first, second in struct.iter_unpack("=2I", header):
        sums[0] = sums[0] + first + sums[1] & 0xFFFFFFFF
        sums[1] = sums[1] + second + sums[0] & 0xFFFFFFFF
    whole = bytes(header) + struct.pack("=2I", *sums)
    return whole * 2 + bytes(4) + shared[100:]


def damaged(commit: Commit, chance: random.Random) -> State | None:
    """Return a state with a changed byte where no crash changes one; None where there is none."""
    end = commit.end
    counted = chance.random() < 0.5
    first = commit.first_frame
    if counted:
        at = chance.randrange(HEADER, end)
    elif first:
        at = chance.randrange(HEADER, HEADER + first * FRAME)
    else:
        return None
    if chance.random() < 0.3:  # the words by which it is told, of the frames at the borders
        number = chance.choice([first, (end - HEADER) // FRAME]) - 1
        if number >= 0 and (counted or number < first):
            at = HEADER + number * FRAME + chance.randrange(24)
    log = bytearray(commit.logs[-1])
    log[at] ^= chance.choice([1 << chance.randrange(8), chance.randrange(1, 256)])
    shared = commit.counted if counted else None
    number, place = divmod(at - HEADER, FRAME)
    how = f"byte {place} of frame {number} changed, {'counted' if counted else 'no -shm'}"
    return State(commit.catalog, bytes(log), shared, how)


@dataclass(slots=True)
class Figures:
    """What a campaign did."""

    opened: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    sorts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def campaign(seed: int, n_states: int) -> Figures:
    """Build states of logs, open each, and judge what is in it.

    Parameters
    ----------
    seed : int
    n_states : int
        That a crash may leave; half as many are damaged besides.
    """
    chance, figures = random.Random(seed), Figures()
    with tempfile.TemporaryDirectory() as folder, small_caches(chance):
        place = Path(folder)
        while figures.opened.total() < n_states:
            shutil.rmtree(place / "recorded", ignore_errors=True)
            commits = record(place / "recorded", chance, N_COMMITS)
            chance.shuffle(commits)
            for commit in commits:
                for _ in range(STATES_OF_A_COMMIT):
                    state = crash(commit, chance)
                    opened = _judge_crash(figures, commit, state, place / "i", chance)
                    _judge_damage(figures, damaged(commit, chance), place / "d")
                again = _written_on(place / "i", chance) if opened else []
                for commit_after in again:
                    state = crash(commit_after, chance)
                    _judge_crash(figures, commit_after, state, place / "j", chance)
                    _judge_damage(figures, damaged(commit_after, chance), place / "d")
                if figures.opened.total() >= n_states:
                    break
    return figures


def _judge_crash(
    figures: Figures, commit: Commit, state: State, folder: Path, chance: random.Random
) -> bool:
    path = state.put(folder)
    figures.sorts[commit.kind + (", in pieces" if len(commit.logs) > 2 else "")] += 1
    try:
        with FolderStore(folder, writable=chance.random() < 0.3) as store, store.read():
            pass
        found = mark_of(path)
    except FacesimError as error:
        figures.opened["refused"] += 1
        figures.failures.append(f"{commit.kind}, {state.how}: {error}")
        return False
    outcome = {commit.after: "after", commit.before: "before"}.get(found, "otherwise")
    figures.opened[outcome] += 1
    if outcome == "otherwise":
        figures.failures.append(f"{commit.kind}, {state.how}: other rows")
    return outcome != "otherwise"


def _judge_damage(figures: Figures, state: State | None, folder: Path) -> None:
    if state is None:
        return
    told = check_log(state.put(folder))
    figures.told["told" if told else "not told"] += 1
    if told is None:
        figures.failures.append(f"not told: {state.how}")


def _written_on(folder: Path, chance: random.Random) -> list[Commit]:
    """Write on in the index that was opened last, over what the crash has left in its log."""
    with FolderStore(folder, writable=True) as store:
        writer = Writer(store, chance)
        for _ in range(chance.randrange(1, 4)):
            writer.add_one()
        return writer.recorder.commits


def main() -> None:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--states", type=int, default=2000)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    sys.stdout.write(f"log_states: seed {chosen.seed}\n")
    sys.stdout.flush()
    started = time.monotonic()
    figures = campaign(chosen.seed, chosen.states)
    sys.stdout.write(
        f"{figures.opened.total()} states after a crash: {figures.opened['before']} as before the "
        f"commit, {figures.opened['after']} as after it, {figures.opened['otherwise']} otherwise, "
        f"{figures.opened['refused']} refused; of {figures.told.total()} damaged logs "
        f"{figures.told['told']} were told; {time.monotonic() - started:.0f} s\n"
    )
    for name, count in sorted(figures.sorts.items()):
        sys.stdout.write(f"  {name}: {count}\n")
    for failure in figures.failures:
        sys.stdout.write(f"  failure: {failure}\n")
    sys.exit(bool(figures.failures))


if __name__ == "__main__":
    main()
