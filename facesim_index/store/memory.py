"""What was computed of an index, remembered for as long as the index is open."""

import threading
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


class Memory:
    """Remembers one value of each type; many threads may ask at once.

    Examples
    --------
    >>> memory = Memory()
    >>> memory.recall(int, lambda known: True, lambda: 41 + 1)
    42
    >>> memory.recall(int, lambda known: True, lambda: 0)
    42
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # what makes a value may recall another
        self._values: dict[type, object] = {}

    def recall(
        self, kind: type[Value], holds: Callable[[Value], bool], make: Callable[[], Value]
    ) -> Value:
        """Return the remembered value while it holds, else make it anew and remember it.

        While one thread makes a value, the others wait for it.

        Parameters
        ----------
        kind : type
            The type of the value, by which it is remembered.
        holds : callable
            Tells whether a remembered value may still be used.
        make : callable
            Makes the value.

        Returns
        -------
        object of that type
        """
        with self._lock:
            known = self._values.get(kind)
            if not (isinstance(known, kind) and holds(known)):
                known = make()
                self._values[kind] = known
            return known
