"""Taking turns in the order of coming: a semaphore may let those who come later pass."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Turns:
    """Lets so many threads in at a time, first come, first served.

    Parameters
    ----------
    n_turns : int
        At least 1.
    """

    def __init__(self, n_turns: int) -> None:
        self._lock = threading.Lock()
        self._free = n_turns
        self._waiting: deque[threading.Lock] = deque()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and keep it for the length of the block."""
        gate = None
        with self._lock:
            if self._free:
                self._free -= 1
            else:
                gate = threading.Lock()
                gate.acquire()
                self._waiting.append(gate)
        if gate is not None:
            gate.acquire()  # until whoever leaves opens it: the turn is handed over
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().release()
                else:
                    self._free += 1
