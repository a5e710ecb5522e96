"""The parent's side of the cards: it starts a process for each, and another one where one ends."""

import contextlib
import logging
import os
import pickle
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from facesim_index.engine.card.messages import socket_path
from facesim_index.engine.card.networks import CardNetworks
from facesim_index.engine.card.service import ServiceOrders
from facesim_index.errors import FacesimError, PipelineError
from facesim_index.workers.child import Frame, Kind, read_frame, write_frame
from facesim_index.workers.process import start_error, start_python

#: Typed by what it returns: what it takes is whatever `CardProcesses` is given for it.
MakeNetworks = Callable[..., CardNetworks]

logger = logging.getLogger(__name__)

#: When a batch takes longer than this, in seconds, the card hangs.  The first batch of a canvas
#: waits for its plan.
HANG_S = 60.0
#: So often in a row a process may end before it has computed anything.
MOST_LIVES_IN_VAIN = 3
_END_S = 5.0
_PREFIX = "facesim-card-"
_LONGEST_ADDRESS = 100  # bytes; systems bound the paths of sockets, some at 104


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
    """

    def __init__(
        self,
        make_networks: MakeNetworks,
        sources: Sequence[object],
        *,
        hang_s: float = HANG_S,
    ) -> None:
        # Others may not enter it, so nobody else speaks with the processes.
        self.folder = _new_folder()
        self._closing = threading.Event()
        self._failure: FacesimError | None = None
        self._lock = threading.Lock()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._orders = [
            ServiceOrders(make_networks, source, socket_path(self.folder, device), hang_s)
            for device, source in enumerate(sources)
        ]
        self._threads = [
            threading.Thread(target=self._tend, args=(device,), daemon=True)
            for device in range(len(sources))
        ]
        for thread in self._threads:
            thread.start()

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
        FacesimError
            What `make_networks` raised in a process.
        PipelineError
            A process could not be started, or it ended again and again.
        """
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the processes and wait for them; a second call does nothing."""
        self._closing.set()
        with self._lock:
            running = list(self._running.values())
        for process in running:
            _end_input(process)
        for thread in self._threads:
            thread.join(_END_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tend(self, device: int) -> None:
        """Keep the process of a card running until this object is closed."""
        lives_in_vain = 0
        try:
            while not self._closing.is_set():
                lived = self._live(device)
                lives_in_vain = 0 if lived else lives_in_vain + 1
                if self._closing.is_set():
                    return
                if lives_in_vain >= MOST_LIVES_IN_VAIN:
                    raise PipelineError(
                        f"the process of card {device} ended {lives_in_vain} times in a row before "
                        "it had computed anything; look at nvidia-smi, or choose the provider cpu"
                    )
                logger.warning("the process of card %d has ended; it is started again", device)
        except FacesimError as error:
            self._failure = error

    def _live(self, device: int) -> bool:
        """Start the process of a card, wait for its end, and tell whether it computed anything."""
        stderr = None if logger.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL
        process = start_python(
            "from facesim_index.engine.card.service import main; main()",
            stderr=stderr,
            environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        with self._lock:
            self._running[device] = process
        lived = False
        try:
            if self._closing.is_set():
                return lived
            assert process.stdin is not None
            assert process.stdout is not None
            payload = pickle.dumps(self._orders[device], protocol=5)
            with contextlib.suppress(OSError, ValueError):
                write_frame(process.stdin, Frame(Kind.ORDERS, payload=payload))
                while (frame := read_frame(process.stdout)) is not None:
                    if frame.kind is Kind.UNFIT:
                        raise start_error(frame.payload)
                    logger.debug("card %d: %s", device, frame.kind.name)
                    lived = lived or frame.kind is Kind.BEGUN
        finally:
            _dismiss(process)
        return lived


def _new_folder() -> Path:
    """Make a folder with a path that is short enough for sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(os.fsencode(socket_path(folder, 999))) <= _LONGEST_ADDRESS:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))


def _end_input(process: subprocess.Popen[bytes]) -> None:
    """Close the input of a process, at which it ends."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """End a process and collect it."""
    _end_input(process)
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
    if process.stdout is not None:
        process.stdout.close()
