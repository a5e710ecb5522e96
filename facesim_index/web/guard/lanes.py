"""A lane: places for the requests that are in work and for some that wait.

Whoever comes when all places are taken is told to come back.  A request that waits and whose client
hangs up is dropped.
"""

import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from facesim_index.web.guard.problems import GoneError, ProblemError

RETRY_S = 5


@dataclass(frozen=True, slots=True)
class LaneBounds:
    """How many requests a lane has places for.

    Attributes
    ----------
    in_work : int
        How many are worked on at a time.
    waiting : int
        How many may wait.
    in_work_of_one : int or None
        How many of one client are worked on at a time; None for as many as there are.
    wait_s : float or None
        How many seconds one waits at most; None for as long as its client does.
    """

    in_work: int
    waiting: int
    in_work_of_one: int | None = None
    wait_s: float | None = None

    @property
    def of_one(self) -> int:
        """How many places one client may take, in work and waiting: three in four."""
        return max(1, (self.in_work + self.waiting) * 3 // 4)


class Place:
    """A place in a lane; `leave` gives it back, and may be called again.

    Parameters
    ----------
    leave : callable
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """Let the next one in."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Lane:
    """The places for one kind of request, in the order of arrival.

    Parameters
    ----------
    full : str
        What is so when all places are taken, for a person.
    bounds : LaneBounds
    """

    def __init__(self, full: str, bounds: LaneBounds) -> None:
        self.bounds = bounds
        self._full = full
        self._limiter = anyio.CapacityLimiter(bounds.in_work)
        self._of_one: dict[str, anyio.CapacityLimiter] = {}
        self._n_of: Counter[str] = Counter()

    @property
    def n_requests(self) -> int:
        """How many requests are in work or wait."""
        return self._n_of.total()

    async def enter(self, client: str, gone: Callable[[], Awaitable[None]] | None = None) -> Place:
        """Wait for a place.

        Parameters
        ----------
        client : str
            Whose request it is.
        gone : callable, optional
            Waits until the client hangs up; by default that is not noticed.

        Returns
        -------
        Place

        Raises
        ------
        ProblemError
            All places are taken, or the wait was too long; status 503.
        GoneError
            The client hung up.
        """
        bounds = self.bounds
        if (
            self.n_requests >= bounds.in_work + bounds.waiting
            or self._n_of[client] >= bounds.of_one
        ):
            raise self._busy()
        self._n_of[client] += 1
        borrower, limiters = object(), self._limiters(client)
        taken: list[anyio.CapacityLimiter] = []

        def leave() -> None:
            for limiter in reversed(taken):
                limiter.release_on_behalf_of(borrower)
            self._n_of[client] -= 1
            if not self._n_of[client]:
                del self._n_of[client]
                self._of_one.pop(client, None)

        try:
            with anyio.fail_after(bounds.wait_s):
                for limiter in limiters:
                    await _take(limiter, borrower, gone, taken)
        except TimeoutError:
            leave()
            raise self._busy() from None
        except BaseException:
            leave()
            raise
        return Place(leave)

    def _limiters(self, client: str) -> list[anyio.CapacityLimiter]:
        """Return what a request must pass: first its client's own bound, then that of all."""
        most = self.bounds.in_work_of_one
        if most is None:
            return [self._limiter]
        own = self._of_one.setdefault(client, anyio.CapacityLimiter(most))
        return [own, self._limiter]

    def _busy(self) -> ProblemError:
        return ProblemError(503, "busy", f"{self._full}; try again in {RETRY_S} s")


def client_name(address: str) -> str:
    """Return by what a client is counted: whoever has one IPv6 address has 2^64 of them.

    Parameters
    ----------
    address : str

    Returns
    -------
    str

    Examples
    --------
    >>> client_name("192.0.2.7"), client_name("2001:db8::7:1")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:  # as a socket for both kinds tells IPv4 addresses
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


async def _take(
    limiter: anyio.CapacityLimiter,
    borrower: object,
    gone: Callable[[], Awaitable[None]] | None,
    taken: list[anyio.CapacityLimiter],
) -> None:
    """Take a token and note that at once, unless the client hangs up meanwhile."""
    try:
        limiter.acquire_on_behalf_of_nowait(borrower)
    except anyio.WouldBlock:
        pass
    else:
        taken.append(limiter)
        return
    if gone is None:
        await limiter.acquire_on_behalf_of(borrower)
        taken.append(limiter)
        return
    async with anyio.create_task_group() as group:

        async def leave() -> None:
            await gone()
            group.cancel_scope.cancel()

        group.start_soon(leave)
        await limiter.acquire_on_behalf_of(borrower)
        taken.append(limiter)
        group.cancel_scope.cancel()
    if limiter not in taken:
        raise GoneError
