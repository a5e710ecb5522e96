"""Small logs with every way to leave them: what a crash can do is no damage, all else is."""

import itertools
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from facesim_index.store.sqlite.wal import check_log, log_path, shared_path

PAGE = 512
FRAME = 24 + PAGE
HEADER = 32
SECTOR = 512
SHARED_HEADER = 136  # of the -shm file: two copies of what it counts, and what is written back


@dataclass(frozen=True)
class Log:
    """A catalog with a log, as bytes.

    Attributes
    ----------
    catalog : Path
    before, after : bytes
        The log before the last transaction and after it.
    shared_before, shared_after : bytes
        The ``-shm`` file likewise.
    """

    catalog: Path
    before: bytes
    after: bytes
    shared_before: bytes
    shared_after: bytes

    @property
    def commits(self) -> list[int]:
        """The frames of the log after it that end a commit."""
        salts = self.after[16:24]
        found = []
        for number in range((len(self.after) - HEADER) // FRAME):
            commit, own = struct.unpack_from(">4xI8s", self.after, HEADER + number * FRAME)
            if own != salts:
                break
            if commit:
                found.append(number)
        return found

    def told(self, log: bytes, shared: bytes | None) -> str:
        """Put a log beside the catalog; return what is told of it."""
        log_path(self.catalog).write_bytes(log)
        if shared is None:
            shared_path(self.catalog).unlink(missing_ok=True)
        else:
            shared_path(self.catalog).write_bytes(shared[:SHARED_HEADER])
        damage = check_log(self.catalog)
        return damage.message if damage else ""

    def n_rows(self, log: bytes) -> int:
        """Return how many rows SQLite finds with a log."""
        path = self.catalog.with_name("looked at")
        path.write_bytes(self.catalog.read_bytes())
        log_path(path).write_bytes(log)
        with closing(sqlite3.connect(path)) as database:
            return int(database.execute("SELECT count(*) FROM row").fetchone()[0])


def make_log(
    folder: Path, *, restarted: bool, work: Callable[[sqlite3.Connection], None] | None = None
) -> Log:
    """Make a log with three transactions of several pages, over an older one or not."""
    catalog = folder / "made.sqlite3"
    with closing(sqlite3.connect(catalog, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size={PAGE}")
        database.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, text TEXT)")
        database.execute("PRAGMA journal_mode=WAL")

        def commit(n: int) -> None:
            database.execute("BEGIN")
            for _ in range(n):
                database.execute("INSERT INTO row (text) VALUES (hex(randomblob(150)))")
            database.execute("COMMIT")

        if restarted:
            for _ in range(12):
                commit(1)
            if work is not None:
                work(database)
            database.execute("PRAGMA wal_checkpoint(FULL)")
        for n in (2, 1):
            commit(n)
        before, shared_before = look(catalog)
        commit(3)
        after, shared_after = look(catalog)
        copy = folder / "copied.sqlite3"
        copy.write_bytes(catalog.read_bytes())
    return Log(copy, before, after, shared_before, shared_after)


def look(catalog: Path) -> tuple[bytes, bytes]:
    return log_path(catalog).read_bytes(), shared_path(catalog).read_bytes()


@pytest.fixture(params=[False, True], ids=["the first log", "over an older log"])
def log(tmp_path: Path, request: pytest.FixtureRequest) -> Log:
    return make_log(tmp_path, restarted=request.param)


def last_sectors(log: Log) -> Iterator[int]:
    """Yield where the sectors begin that the last transaction wrote."""
    whole = max(len(log.before), len(log.after))
    for at in range(0, whole, SECTOR):
        if log.before[at : at + SECTOR] != log.after[at : at + SECTOR]:
            yield at


def test_the_logs_are_what_the_tests_are_about(tmp_path: Path) -> None:
    for restarted in (False, True):
        folder = tmp_path / str(restarted)
        folder.mkdir()
        log = make_log(folder, restarted=restarted)
        assert len(log.commits) == 3
        assert struct.unpack_from(">I", log.after, 12)[0] == restarted
        assert (len(log.after) > HEADER + (log.commits[-1] + 1) * FRAME) == restarted
        for shared in (log.shared_after, log.shared_before, None):
            assert log.told(log.after, shared) == ""
            if shared != log.shared_after:
                assert log.told(log.before, shared) == ""


def test_any_sectors_of_the_last_transaction_may_be_lost(log: Log) -> None:
    whole = max(len(log.before), len(log.after))
    sectors = list(last_sectors(log))
    rows = {log.n_rows(log.before), log.n_rows(log.after)}
    assert len(rows) == 2
    for kept in itertools.product([True, False], repeat=min(len(sectors), 9)):
        state = bytearray(log.before.ljust(whole, b"\0"))
        for at, is_kept in zip(sectors, [*kept, *[True] * len(sectors)], strict=False):
            if is_kept:
                sector = log.after[at : at + SECTOR]
                state[at : at + len(sector)] = sector
        for shared in (None, log.shared_before):
            assert log.told(bytes(state), shared) == "", kept
        if sum(kept) in (0, 1, len(kept) - 1, len(kept)):
            assert log.n_rows(bytes(state)) in rows


def test_a_kill_may_leave_any_beginning_of_the_last_transaction(log: Log) -> None:
    end = HEADER + (log.commits[-1] + 1) * FRAME
    for at in range(HEADER + (log.commits[-2] + 1) * FRAME, end, 4):
        for state in (log.after[:at] + log.before[at:], log.after[:at]):
            assert log.told(state, log.shared_before) == "", at
            if len(state) > len(log.before) or state[at:] == log.before[at:]:
                assert log.told(state, None) == "", at


def changed_bytes(log: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the log with one byte changed: each byte of headers, and some of the pages."""
    for at in range(start, end):
        place = (at - HEADER) % FRAME
        if at < HEADER or place < 24 or place % 11 == 0 or place > FRAME - 4:
            changed = bytearray(log)
            changed[at] ^= (0x01, 0x80, 0xFF, 0x10)[at % 7 % 4]
            yield at, bytes(changed)


def test_any_byte_of_what_is_before_the_last_transaction_is_told(log: Log) -> None:
    for at, changed in changed_bytes(log.after, 0, HEADER + (log.commits[-2] + 1) * FRAME):
        assert log.told(changed, None), at
        assert log.told(changed, log.shared_before), at


def test_any_byte_of_what_is_counted_is_told(log: Log) -> None:
    for at, changed in changed_bytes(log.after, 0, HEADER + (log.commits[-1] + 1) * FRAME):
        assert log.told(changed, log.shared_after), at


def test_any_byte_of_the_first_log_of_a_file_is_told_without_a_count(tmp_path: Path) -> None:
    log = make_log(tmp_path, restarted=False)
    start = HEADER + (log.commits[-2] + 1) * FRAME
    for at, changed in changed_bytes(log.after, start, len(log.after)):
        assert log.told(changed, None), at
        if (at - HEADER) % FRAME >= 24:
            assert log.told(changed, log.shared_before) == "", at


def test_a_log_that_is_shorter_than_is_counted_is_told(log: Log) -> None:
    end = HEADER + (log.commits[-1] + 1) * FRAME
    for length in (0, 31, HEADER, HEADER + FRAME, end - 1):
        assert log.told(log.after[:length], log.shared_after), length
    log_path(log.catalog).unlink()
    assert check_log(log.catalog)


def test_a_header_that_was_never_written_is_no_damage(log: Log) -> None:
    assert log.told(bytes(4 * FRAME), None) == ""
    assert "is gone" in log.told(bytes(4 * FRAME), log.shared_after)
    assert "damaged header" in log.told(bytes(HEADER) + log.after[HEADER:], None)


def test_what_a_crash_left_behind_does_not_pass_for_a_later_transaction(tmp_path: Path) -> None:
    """Two crashes: what the first left behind lies behind what the second left."""
    catalog = tmp_path / "made.sqlite3"
    with closing(sqlite3.connect(catalog, isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size={PAGE}")
        database.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, text TEXT)")
        database.execute("PRAGMA journal_mode=WAL")
    logs = []
    log = b""
    for n in (30, 20, 12):
        data, log = committed(catalog, log, n)
        logs.append(data)
        # All is on the disk but the second sector of that transaction.
        log = data[:SECTOR] + log[SECTOR : 2 * SECTOR].ljust(SECTOR, b"\0") + data[2 * SECTOR :]
        log_path(catalog).write_bytes(log)
        shared_path(catalog).unlink(missing_ok=True)
        assert check_log(catalog) is None
    ends = [len(data) for data in logs]
    assert ends[0] == ends[1] == ends[2], "they lie over each other"


def committed(catalog: Path, log: bytes, n: int) -> tuple[bytes, bytes]:
    """Return the log after a transaction is written into it, and the log before."""
    log_path(catalog).write_bytes(log)
    shared_path(catalog).unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        database = sqlite3.connect(catalog, isolation_level=None)
        database.execute("BEGIN")
        for _ in range(n):
            database.execute("INSERT INTO row (text) VALUES (hex(randomblob(150)))")
        database.execute("COMMIT")
        os._exit(0)  # as by a kill: nobody closes the catalog
    assert os.waitpid(pid, 0)[1] == 0
    return log_path(catalog).read_bytes(), log


def test_an_old_word_before_the_border_of_two_sectors_is_not_believed(tmp_path: Path) -> None:
    """Frame 41 begins eight bytes before a sector: its first words may be of an older frame."""

    def many_commits(database: sqlite3.Connection) -> None:
        for _ in range(60):
            database.execute("UPDATE row SET text = hex(randomblob(150)) WHERE id = 1")

    log = make_log(tmp_path, restarted=True, work=many_commits)
    split = next(n for n in range(80) if (HEADER + n * FRAME) % SECTOR == SECTOR - 8)
    assert split == 41
    catalog = tmp_path / "made.sqlite3"
    old = log.before
    with closing(sqlite3.connect(catalog, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(FULL)")
        database.execute("BEGIN")
        for _ in range(80):
            database.execute("INSERT INTO row (text) VALUES (hex(randomblob(150)))")
        database.execute("COMMIT")
        new, shared = look(catalog)
    start = HEADER + split * FRAME
    assert struct.unpack_from(">4xI", old, start)[0], "the older frame ends a commit"
    assert not struct.unpack_from(">4xI", new, start)[0]
    sector = start - start % SECTOR
    torn = new[:sector] + old[sector : sector + SECTOR] + new[sector + SECTOR :]
    assert log.told(torn, None) == ""
    assert log.told(torn, shared)


def sums_of(data: bytes | bytearray, sums: tuple[int, int]) -> tuple[int, int]:
    """Return the checksum of SQLite's log as its documentation has it, over big-endian words."""
    first, second = sums
    for one, other in struct.iter_unpack(">2I", data):
        first = first + one + second & 0xFFFFFFFF
        second = second + other + first & 0xFFFFFFFF
    return first, second


def test_a_log_of_a_big_endian_machine_is_read(log: Log) -> None:
    """Its checksums are over words of the other byte order."""
    changed = bytearray(log.after)
    changed[3] |= 1
    sums = sums_of(changed[:24], (0, 0))
    struct.pack_into(">2I", changed, 24, *sums)
    for number in range(log.commits[-1] + 1):
        start = HEADER + number * FRAME
        body = changed[start : start + 8] + changed[start + 24 : start + FRAME]
        sums = sums_of(body, sums)
        struct.pack_into(">2I", changed, start + 16, *sums)
    assert log.told(bytes(changed), None) == ""
    for at in range(0, HEADER + (log.commits[-2] + 1) * FRAME, 13):
        damaged = bytearray(changed)
        damaged[at] ^= 0x11
        assert log.told(bytes(damaged), None), at
