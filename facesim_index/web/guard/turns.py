"""Turns in the order of arrival; a semaphore may let threads pass that came later."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Turns:
    """Lets a limited number of threads in at a time, in the order in which they came.

    Parameters
    ----------
    n_turns : int
        How many threads at a time, at least 1.
    """

    def __init__(self, n_turns: int) -> None:
        self._lock = threading.Lock()
        self._free = n_turns
        self._waiting: deque[threading.Lock] = deque()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and keep it for the length of the block.

        Yields
        ------
        None
        """
        gate = None
        with self._lock:
            if self._free:
                self._free -= 1
            else:
                gate = threading.Lock()
                gate.acquire()
                self._waiting.append(gate)
        if gate is not None:
            gate.acquire()  # until a thread that leaves opens it, and so hands its turn over
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._free += 1
