"""The parent's side of the cards: it starts a process for each, and another one where one ends."""

import contextlib
import logging
import os
import pickle
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from facesim_index.engine.card.messages import socket_path
from facesim_index.engine.card.networks import CardNetworks
from facesim_index.engine.card.service import ServiceOrders
from facesim_index.errors import PipelineError
from facesim_index.workers.child import Frame, Kind, read_frame, write_frame
from facesim_index.workers.process import start_error, start_python

#: Typed by what it returns: what it takes is whatever `CardProcesses` is given for it.
MakeNetworks = Callable[..., CardNetworks]

logger = logging.getLogger(__name__)

#: When a batch takes longer than this, in seconds, the card hangs.
HANG_S = 30.0
#: A process that ends sooner than this after its start, in seconds, is no better than none.
SHORT_LIFE_S = 10.0
MOST_SHORT_LIVES = 3
_END_S = 5.0


class CardProcesses:
    """The processes of some cards; use it as a context manager.

    Parameters
    ----------
    make_networks : callable
        Makes the networks of a card in its process; importable by name.
    sources : sequence of object
        What it is given, one for each card.
    hang_s : float, default=HANG_S
        When a batch takes longer than this, in seconds, the process of the card is started again.

    Attributes
    ----------
    folder : Path
        Where the processes listen.

    Raises
    ------
    FacesimError
        A process could not be set up: what `make_networks` raised in it.
    PipelineError
        A process could not be started.
    """

    def __init__(
        self,
        make_networks: MakeNetworks,
        sources: Sequence[object],
        *,
        hang_s: float = HANG_S,
    ) -> None:
        # Others may not enter it, so nobody else speaks with the processes.
        self.folder = Path(tempfile.mkdtemp(prefix="facesim-card-"))
        self._closing = threading.Event()
        self._failure: PipelineError | None = None
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._orders = [
            ServiceOrders(make_networks, source, socket_path(self.folder, device), hang_s)
            for device, source in enumerate(sources)
        ]
        self._threads: list[threading.Thread] = []
        try:
            for device in range(len(self._orders)):
                self._start(device)
            for device in range(len(self._orders)):
                self._threads.append(
                    threading.Thread(target=self._tend, args=(device,), daemon=True)
                )
                self._threads[-1].start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids, one for each card."""
        with self._lock:
            return tuple(process.pid for _, process in sorted(self._running.items()))

    def check(self) -> None:
        """Raise what made it impossible to go on.

        Raises
        ------
        PipelineError
            The process of a card ended again and again.
        """
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the processes and wait for them; a second call does nothing."""
        self._closing.set()
        with self._lock:
            running = list(self._running.values())
        for process in running:
            _dismiss(process)
        for thread in self._threads:
            thread.join(_END_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, device: int) -> None:
        """Start the process of a card, and wait until it listens."""
        stderr = None if logger.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL
        process = start_python(
            "from facesim_index.engine.card.service import main; main()",
            stderr=stderr,
            environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        with self._lock:
            self._running[device] = process
        assert process.stdin is not None
        assert process.stdout is not None
        payload = pickle.dumps(self._orders[device], protocol=5)
        try:
            write_frame(process.stdin, Frame(Kind.ORDERS, payload=payload))
            frame = read_frame(process.stdout)
        except OSError:
            frame = None
        if frame is not None and frame.kind is Kind.UNFIT:
            error = start_error(frame.payload)
            _dismiss(process)
            raise error
        if frame is None:
            _dismiss(process)
            raise PipelineError(
                f"the process of card {device} ended before it could compute anything; its own "
                "messages are shown with -vv"
            )

    def _tend(self, device: int) -> None:
        """Wait for the end of a process, and start another one, until this object is closed."""
        short_lives = 0
        while not self._closing.is_set():
            started = time.monotonic()
            process = self._running[device]
            code = process.wait()
            if self._closing.is_set():
                return
            _dismiss(process)
            short = time.monotonic() - started < SHORT_LIFE_S
            short_lives = short_lives + 1 if short else 0
            logger.warning("the process of card %d ended (%d); starting it again", device, code)
            try:
                if short_lives >= MOST_SHORT_LIVES:
                    raise PipelineError(
                        f"the process of card {device} ended {short_lives} times soon after it was "
                        "started; try the provider cpu, or look at nvidia-smi"
                    )
                self._start(device)
            except Exception as error:
                self._failure = PipelineError(f"the card cannot be used any more: {error}")
                return


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """Close the input of a process, at which it ends, and collect it."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
