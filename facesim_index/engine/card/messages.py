"""What the process of a card and its clients say to each other.

They speak over a Unix socket that keeps messages apart, in a folder that only their user may
enter.  Pictures and numbers do not travel through it: each client shares a piece of memory with the
process, and says where in it a picture lies::

    client -> process   Hello, and with it the descriptor of the memory
    process -> client   Geometry
    client -> process   Request, again and again, one at a time
    process -> client   Reply
"""

import contextlib
import mmap
import os
import pickle
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Bytes that a client shares for its pictures, and then for the answers to them.  Memory is only
#: taken for those that are used.
PICTURE_BYTES = 16 << 20
NUMBER_BYTES = 16 << 20
MOST_MESSAGE_BYTES = 1 << 16

NetworkName = Literal["detector", "recogniser"]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a client."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client wants to know.

    Attributes
    ----------
    network : {"detector", "recogniser"}
    canvases : tuple of tuple of int
        Of each picture, where in the memory its bytes begin, its height and its width.
    alone : bool
        They shall be in no batch with those of others.
    """

    network: NetworkName
    canvases: tuple[tuple[int, int, int], ...]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the numbers of one picture are.

    Attributes
    ----------
    offset : int
        Where in the memory they begin.
    n_numbers : int
        Of four bytes.
    height_px, width_px : int
        Of what the network really saw.
    """

    offset: int
    n_numbers: int
    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Attributes
    ----------
    answers : tuple of Answer
        One for each picture; none where it failed.
    failure : str, default=""
        Why it failed: the card has not enough memory.
    """

    answers: tuple[Answer, ...]
    failure: str = ""


def send(connection: socket.socket, message: object, descriptor: int | None = None) -> None:
    """Send a message.

    Parameters
    ----------
    connection : socket
    message : object
    descriptor : int, optional
        Of a file that the other side may use too.

    Raises
    ------
    OSError
        The other side is gone.
    """
    data = pickle.dumps(message, protocol=5)
    if descriptor is None:
        connection.sendall(data)
    else:
        socket.send_fds(connection, [data], [descriptor])


def receive(connection: socket.socket) -> object:
    """Wait for a message.

    Parameters
    ----------
    connection : socket

    Returns
    -------
    object

    Raises
    ------
    EOFError
        The other side is gone.
    OSError
        As above, or it took too long.
    """
    data = connection.recv(MOST_MESSAGE_BYTES)
    if not data:
        raise EOFError("the other side is gone")
    message: object = pickle.loads(data)
    return message


def receive_hello(connection: socket.socket) -> mmap.mmap:
    """Wait for the first message of a client, and open the memory that it shares.

    Parameters
    ----------
    connection : socket

    Returns
    -------
    mmap

    Raises
    ------
    EOFError, OSError
        The client is gone.
    """
    data, descriptors, _, _ = socket.recv_fds(connection, MOST_MESSAGE_BYTES, 1)
    try:
        if not data or not descriptors:
            raise EOFError("the other side is gone")
        return mmap.mmap(descriptors[0], PICTURE_BYTES + NUMBER_BYTES)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def new_socket() -> socket.socket:
    """Return a socket that keeps messages apart."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def socket_path(folder: Path, device: int) -> Path:
    """Return where the process of a card listens.

    Parameters
    ----------
    folder : Path
    device : int
        Number of the card, from 0.

    Returns
    -------
    Path

    Examples
    --------
    >>> socket_path(Path("cards"), 1).name
    'card-1'
    """
    return folder / f"card-{device}"


def can_share() -> bool:
    """Tell whether this system has what the process of a card and its clients need."""
    with contextlib.suppress(AttributeError):
        return bool(socket.SOCK_SEQPACKET and socket.AF_UNIX and os.memfd_create)
    return False
