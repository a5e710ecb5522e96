"""How much time, memory and room a client may take."""

from dataclasses import dataclass

from facesim_index.errors import UsageError

_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what a client may send, and of what is kept in memory.

    Attributes
    ----------
    upload_bytes : int, default=50 million
        Of one uploaded picture.
    upload_pixels : int, default=100 million
        A larger picture is not decoded.
    upload_s : float, default=60
        How many seconds it may take to send a request's body.
    least_bytes_s : int, default=16,384
        How many bytes a second a body must bring, and an answer must be fetched, on average over
        `pace_s`; a slower connection is given up.
    pace_s : float, default=10
        How many seconds a body or an answer may stand still.
    head_s : float, default=10
        How many seconds a connection may last without a whole head of a request.
    connections : int, default=320
        How many connections there are at a time; fewer where the system allows the process few
        open files.
    connections_of_one : int, default=256
        How many of them one client may have.
    picture_s : float, default=30
        How many seconds it may take to decode and embed one picture; after that its worker is
        killed.
    wait_s : float, default=30
        How many seconds a picture waits for a worker before the client is told to try again.
    worker_bytes : int, default=2 GiB
        How much memory a worker may allocate beyond its engine; enforced on Linux only.
    crops_bytes : int, default=64 million
        How many bytes of crops and reduced pictures are kept in memory.

    Raises
    ------
    UsageError
        A bound is not positive.
    """

    upload_bytes: int = 50 * _MEGA
    upload_pixels: int = 100 * _MEGA
    upload_s: float = 60.0
    least_bytes_s: int = 16_384
    pace_s: float = 10.0
    head_s: float = 10.0
    connections: int = 320
    connections_of_one: int = 256
    picture_s: float = 30.0
    wait_s: float = 30.0
    worker_bytes: int = 2 << 30
    crops_bytes: int = 64 * _MEGA

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, not {getattr(self, name)}")
