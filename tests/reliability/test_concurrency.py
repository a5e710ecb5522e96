"""Promise 5: one writer and many readers; nobody waits, every answer is whole."""

import sys
from pathlib import Path
from typing import cast

import pytest

from tests.reliability.children import done
from tests.reliability.concurrency import N_READERS, Told, run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory from /proc")
def test_a_writer_and_eight_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    # In a child of its own: the pool's helper process would stay with this one for good.
    told = done(lambda: run(tmp_path / "i.facesim", 10.0))
    writer, readers = cast("tuple[Told, list[Told]]", told)
    assert writer.rounds >= 1
    assert len(readers) == N_READERS
    for each in [writer, *readers]:
        assert each.rounds >= 1
        assert each.end_kib - each.quarter_kib < 64 * 1024
