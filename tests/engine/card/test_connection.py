"""What a client hears of a card that runs out of memory, dies or hangs; with fake cards."""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index.engine.card.client import CardConnection, CardLostError
from facesim_index.engine.card.messages import socket_path
from facesim_index.engine.card.supervisor import CardProcesses
from facesim_index.errors import PipelineError
from facesim_index.records import UInt8Array
from tests.engine.card.cards import (
    DEADLY,
    FATAL,
    FINE,
    HANGING,
    HUGE,
    N_NUMBERS,
    SIDE_PX,
    open_fake_networks,
    open_unfit_networks,
)
from tests.workers.pools import wait_until_gone

HANG_S = 2.0


def picture(level: int) -> UInt8Array:
    return np.full((SIDE_PX, SIDE_PX, 3), level, dtype=np.uint8)


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[CardProcesses]:
    with CardProcesses(open_fake_networks, [tmp_path], hang_s=HANG_S) as cards:
        yield cards


def connect(cards: CardProcesses) -> CardConnection:
    return CardConnection(socket_path(cards.folder, 0), start_s=20.0, answer_s=20.0)


def asked(connection: CardConnection, *levels: int) -> list[float]:
    answers = connection.ask("recogniser", [picture(level) for level in levels])
    assert all(len(numbers) == N_NUMBERS for numbers, _, _ in answers)
    return [float(numbers[0]) for numbers, _, _ in answers]


def test_answers_come_in_the_order_of_the_pictures(cards: CardProcesses) -> None:
    connection = connect(cards)
    assert asked(connection, 3, 1, 2) == [3.0, 1.0, 2.0]
    assert asked(connection, 5) == [5.0]


def test_many_clients_share_the_batches(cards: CardProcesses, tmp_path: Path) -> None:
    wrong: list[int] = []

    def ask_often(level: int) -> None:
        connection = connect(cards)
        for _ in range(20):
            if asked(connection, level) != [float(level)]:
                wrong.append(level)

    threads = [threading.Thread(target=ask_often, args=(level,)) for level in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert not wrong
    seen = [int(line) for level in range(1, 7) for line in log(tmp_path, level)]
    assert max(seen) > 1, "no batch had pictures of two clients"


def test_too_large_batches_are_halved(cards: CardProcesses, tmp_path: Path) -> None:
    levels = list(range(1, 9))
    assert asked(connect(cards), *levels) == [float(level) for level in levels]
    # This card has memory for four pictures: it was tried with 32, 16, 8 and then 4 at a time.
    assert [int(line) for line in log(tmp_path, 1)][-1] <= 4


def test_a_picture_too_large_for_the_card_fails_alone(cards: CardProcesses) -> None:
    connection, other = connect(cards), connect(cards)
    with pytest.raises(MemoryError):
        asked(connection, HUGE)
    assert asked(connection, FINE) == [float(FINE)]
    assert asked(other, FINE) == [float(FINE)]


@pytest.mark.parametrize("level", [DEADLY, HANGING])
def test_a_card_that_dies_or_hangs_is_started_again(cards: CardProcesses, level: int) -> None:
    connection = connect(cards)
    assert asked(connection, FINE) == [float(FINE)]
    with pytest.raises(CardLostError):
        asked(connection, level)
    assert asked(connection, level) == [float(level)]
    cards.check()


def test_a_card_that_dies_of_one_picture_goes_on_with_the_others(cards: CardProcesses) -> None:
    connection = connect(cards)
    for _ in range(2):
        with pytest.raises(CardLostError):
            asked(connection, FATAL)
        assert asked(connection, FINE) == [float(FINE)]
    cards.check()


def test_a_card_that_never_computes_anything_is_given_up() -> None:
    with (
        CardProcesses(open_unfit_networks, [None]) as cards,
        pytest.raises(PipelineError, match="nvidia-smi"),
    ):
        check_for(20.0, cards)


def check_for(duration_s: float, cards: CardProcesses) -> None:
    deadline = time.monotonic() + duration_s
    while time.monotonic() < deadline:
        cards.check()
        time.sleep(0.05)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with CardProcesses(open_fake_networks, [tmp_path], hang_s=HANG_S) as cards:
        connect(cards)
        pids, folder = cards.pids, cards.folder
    for pid in pids:
        wait_until_gone(pid)
    assert not folder.exists()


def test_a_long_temporary_folder_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with CardProcesses(open_fake_networks, [tmp_path], hang_s=HANG_S) as cards:
        assert asked(connect(cards), FINE) == [float(FINE)]
    assert not list(long.iterdir())


def test_a_card_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from facesim_index.engine.card.supervisor import CardProcesses\n"
        "from facesim_index.engine.card.client import CardConnection\n"
        "from facesim_index.engine.card.messages import socket_path\n"
        "from tests.engine.card.cards import open_fake_networks\n"
        "cards = CardProcesses(open_fake_networks, [Path(sys.argv[1])])\n"
        "connection = CardConnection(socket_path(cards.folder, 0), 20.0, 20.0)\n"
        "print(*cards.pids, cards.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(int(pid))
    assert not Path(folder).exists()


def log(folder: Path, level: int) -> list[str]:
    return (folder / f"seen-{level}").read_text().splitlines()
