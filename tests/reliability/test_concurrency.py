"""Promise 5: one writer and many readers; nobody waits, every answer is whole."""

import sys
from pathlib import Path

import pytest

from tests.reliability.concurrency import N_READERS, run


@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory from /proc")
def test_a_writer_and_eight_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    writer, readers = run(tmp_path / "i.facesim", 10.0)
    assert writer.rounds >= 1
    assert len(readers) == N_READERS
    for told in [writer, *readers]:
        assert told.rounds >= 1
        assert told.end_kib - told.quarter_kib < 64 * 1024
