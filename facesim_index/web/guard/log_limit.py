"""A log that nobody can fill: of each message some a minute, and how many were left out."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

MOST_OF_ONE = 10
PERIOD_S = 60.0
_MOST_KINDS = 1000

#: Whose messages a client can cause.
_LOGGERS = (
    "asyncio",
    "uvicorn.error",
    "uvicorn.access",
    "facesim_index.web.guard.connections",
    "facesim_index.web.service.jobs",
)


@dataclass(slots=True)
class _Told:
    since_s: float
    n_told: int = 0
    n_left_out: int = 0


class LogLimit(logging.Filter):
    """Lets a few messages of a kind through in each period, and then tells how many there were.

    A kind is the text of a message before its values are put in.

    Parameters
    ----------
    most : int, default=10
        How many messages of a kind are let through in a period.
    period_s : float, default=60
    """

    def __init__(self, most: int = MOST_OF_ONE, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._most = most
        self._period_s = period_s
        self._told: dict[tuple[str, str], _Told] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a message is written.

        Parameters
        ----------
        record : LogRecord

        Returns
        -------
        bool
        """
        key = (record.name, str(record.msg).partition("\n")[0][:200])
        now_s = time.monotonic()
        told = self._told.get(key)
        if told is None or now_s - told.since_s >= self._period_s:
            self._tell(key)
            if len(self._told) >= _MOST_KINDS:
                self.tell_all()
            told = self._told[key] = _Told(now_s)
        if told.n_told >= self._most:
            told.n_left_out += 1
            return False
        told.n_told += 1
        return True

    def tell_all(self) -> None:
        """Tell how many messages of each kind were left out, and begin anew."""
        for key in list(self._told):
            self._tell(key)

    def tell_old(self) -> None:
        """Tell how many messages were left out of those kinds whose period is over."""
        now_s = time.monotonic()
        for key, told in list(self._told.items()):
            if now_s - told.since_s >= self._period_s:
                self._tell(key)

    def _tell(self, key: tuple[str, str]) -> None:
        told = self._told.pop(key, None)
        if told is not None and told.n_left_out:
            name, text = key
            logging.getLogger(__name__).warning(
                "%s messages of %s were left out: %s", f"{told.n_left_out:,}", name, text
            )


@contextlib.contextmanager
def limited_log() -> Iterator[LogLimit]:
    """Limit what clients can write into the log, for the length of the block.

    Yields
    ------
    LogLimit
    """
    limit = LogLimit()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(limit)
    try:
        yield limit
    finally:
        for logger in loggers:
            logger.removeFilter(limit)
        limit.tell_all()
