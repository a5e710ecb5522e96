"""Gathering what many ask for into batches, and computing those in a thread."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from facesim_index.engine.card.shapes import Place
from facesim_index.records import Float32Array, UInt8Array

#: A batch that is not full leaves when its first picture has waited for so long, in seconds.
PATIENCE_S = 0.002


@dataclass(eq=False, slots=True)
class Item:
    """One picture that somebody asks a network about.

    Attributes
    ----------
    place : Place
    canvas : ndarray of shape (height, width, 3), uint8
    answer : callable
        Called once, in the thread that computes: with the numbers, or with the error.
    alone : bool
        It shall be in no batch with others, because a process died of one with it.
    since : float
        When it was asked, in seconds of `time.monotonic`.
    """

    place: Place
    canvas: UInt8Array
    answer: Callable[[Float32Array | Exception], None]
    alone: bool = False
    since: float = field(default_factory=time.monotonic)


class Batches:
    """A queue of pictures, out of which batches of one place are taken.

    It holds no more than is asked for at the same time, and those who ask wait for their answers.

    Parameters
    ----------
    most : callable
        How many pictures of a place are computed at a time.
    patience_s : float, default=PATIENCE_S
        How long a batch that is not full waits for more, in seconds.
    """

    def __init__(self, most: Callable[[Place], int], patience_s: float = PATIENCE_S) -> None:
        self._most = most
        self._patience_s = patience_s
        self._waiting: dict[Place, deque[Item]] = {}
        self._alone: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> None:
        """Ask for a picture.

        Parameters
        ----------
        item : Item
        """
        with self._changed:
            if item.alone:
                self._alone.append(item)
            else:
                self._waiting.setdefault(item.place, deque()).append(item)
            self._changed.notify()

    def close(self) -> None:
        """Let `take` return None, now and for ever."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self) -> list[Item] | None:
        """Wait for a batch.

        Returns
        -------
        list of Item or None
            Of one place, in the order in which they were asked for.  None once it is closed.
        """
        with self._changed:
            while not self._closed:
                if self._alone:
                    return [self._alone.popleft()]
                place, wait_s = self._next()
                if place is not None and wait_s <= 0.0:
                    return self._taken(place)
                self._changed.wait(None if place is None else wait_s)
        return None

    def _next(self) -> tuple[Place | None, float]:
        """Return the place whose turn is next, and in how many seconds that is."""
        oldest: Place | None = None
        since = 0.0
        for place, items in self._waiting.items():
            if len(items) >= self._most(place):
                return place, 0.0
            if oldest is None or items[0].since < since:
                oldest, since = place, items[0].since
        return oldest, since + self._patience_s - time.monotonic()

    def _taken(self, place: Place) -> list[Item]:
        items = self._waiting[place]
        taken = [items.popleft() for _ in range(min(len(items), self._most(place)))]
        if not items:
            del self._waiting[place]
        return taken


class Computing:
    """A thread that computes the batches of one network.

    Parameters
    ----------
    name : str
    batches : Batches
    run : callable
        As `facesim_index.engine.card.networks.ShapedNetwork.run`.
    fail : callable
        Called with an error after which the card had better be given up; does not return.

    Attributes
    ----------
    n_batches : int
        How many batches were computed.
    """

    def __init__(
        self,
        name: str,
        batches: Batches,
        run: Callable[[Place, list[UInt8Array]], list[Float32Array]],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._batches = batches
        self._run = run
        self._fail = fail
        self._since: float | None = None
        self.n_batches = 0
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def busy_s(self) -> float:
        """Return for how long the card has been computing the batch that it is given, in seconds.

        Returns
        -------
        float
        """
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _serve(self) -> None:
        try:
            while (items := self._batches.take()) is not None:
                self._since = time.monotonic()
                self._compute(items)
                self._since = None
                self.n_batches += 1
        except BaseException as error:
            self._fail(error)

    def _compute(self, items: list[Item]) -> None:
        """Answer a batch; of one that is too large for the memory, each by itself."""
        try:
            rows = self._run(items[0].place, [item.canvas for item in items])
        except MemoryError as error:
            if len(items) == 1:
                items[0].answer(error)
                return
            half = len(items) // 2
            self._compute(items[:half])
            self._compute(items[half:])
            return
        for item, row in zip(items, rows, strict=True):
            item.answer(row)
