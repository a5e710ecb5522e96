"""Promise: whoever attacks the server keeps nobody else from being answered."""

import sys
from pathlib import Path

import pytest

from tests.reliability.server_attackers import ATTACKS
from tests.reliability.server_attacks import run

WORST_S = 8.0
MOST_LOG_BYTES = 100_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="connects from several loopback addresses")
def test_honest_clients_are_answered_during_every_attack(tmp_path: Path) -> None:
    n_reviews = n_played = 0
    for name, source, heard, served in run(tmp_path, seed=7, seconds=21.0):
        told = f"{name} from {source}: {heard.line()}; {heard.failed[:3]}"
        assert not heard.failed, told
        assert not heard.refused.keys() - {"review"}, told
        assert heard.worst_s() < WORST_S, told
        assert served.n_files() < 700, told
        assert served.log.stat().st_size < MOST_LOG_BYTES, told
        n_reviews += len(heard.taken_s.get("review", []))
        n_played += 1
    assert n_played == 2 * len(ATTACKS)
    assert n_reviews >= 3
    assert b"Traceback" not in served.log.read_bytes()
