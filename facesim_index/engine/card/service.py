"""The process of a card: it owns the sessions, and answers worker processes in batches.

It ends with its parent, when the card fails, and when the card hangs.  Whoever started it starts
another one, and its clients ask again.
"""

import contextlib
import faulthandler
import mmap
import os
import pickle
import selectors
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from facesim_index.engine.card.batches import Batches, Computing, Item
from facesim_index.engine.card.messages import (
    PICTURE_BYTES,
    Answer,
    Reply,
    Request,
    new_socket,
    receive,
    receive_hello,
    send,
)
from facesim_index.engine.card.networks import CardNetworks
from facesim_index.engine.card.shapes import canvas_place, crop_place
from facesim_index.records import Float32Array, UInt8Array
from facesim_index.workers.child import Frame, Kind, Unfit, describe, read_frame, write_frame

_TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class ServiceOrders:
    """What the process of a card is started with.

    Attributes
    ----------
    make_networks : callable
        Makes the networks of `source`; importable by name.
    source : object
        What it is given.
    address : Path
        Where to listen.
    hang_s : float
        When a batch takes longer than this, in seconds, the process ends itself.
    """

    make_networks: Callable[..., CardNetworks]
    source: object
    address: Path
    hang_s: float


def main() -> None:
    """Serve until the standard input is closed.  This never returns."""
    # What the runtime prints goes to standard error.
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        _serve(source, sink)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    frame = read_frame(source)
    if frame is None:
        return
    try:
        orders: ServiceOrders = pickle.loads(frame.payload)
        service = Service(orders)
    except BaseException as error:
        unfit = Unfit(describe(error), "".join(traceback.format_exception(error)), _copy(error))
        write_frame(sink, Frame(Kind.UNFIT, payload=pickle.dumps(unfit)))
        read_frame(source)  # until the parent has read it
        return

    def end_with_parent() -> None:
        read_frame(source)
        # A parent that was killed could not remove the folder.
        with contextlib.suppress(OSError):
            orders.address.unlink(missing_ok=True)
            orders.address.parent.rmdir()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    write_frame(sink, Frame(Kind.READY))
    service.serve(lambda: write_frame(sink, Frame(Kind.BEGUN)))


def _copy(error: BaseException) -> bytes | None:
    try:
        copy = pickle.dumps(error)
        pickle.loads(copy)
    except Exception:
        return None
    return copy


class Service:
    """Answers the clients of a card.

    Parameters
    ----------
    orders : ServiceOrders
    """

    def __init__(self, orders: ServiceOrders) -> None:
        self._hang_s = orders.hang_s
        networks = orders.make_networks(orders.source)
        self._geometry = networks.geometry
        self._batches = {
            "detector": Batches(networks.detector.most),
            "recogniser": Batches(networks.recogniser.most),
        }
        # Two threads, so that one network computes while the pictures of the other are copied.
        self._computing = [
            Computing("detect", self._batches["detector"], networks.detector.run, _give_up),
            Computing("recognise", self._batches["recogniser"], networks.recogniser.run, _give_up),
        ]
        self._selector = selectors.DefaultSelector()
        self._listener = new_socket()
        orders.address.unlink(missing_ok=True)
        self._listener.bind(str(orders.address))
        self._listener.listen(1024)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self, tell_first: Callable[[], None]) -> None:
        """Serve clients, and end the process when a batch takes too long.  Never returns.

        Parameters
        ----------
        tell_first : callable
            Called once, when something has been computed.
        """
        told = False
        while True:
            if not told and any(one.n_batches for one in self._computing):
                tell_first()
                told = True
            if all(one.busy_s() < self._hang_s for one in self._computing):
                # Needs no interpreter lock, which what hangs may hold.
                faulthandler.dump_traceback_later(self._hang_s + 2 * _TICK_S, exit=True)
            else:
                os._exit(3)
            for key, _ in self._selector.select(_TICK_S):
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._welcome(connection)
                else:
                    client: _Client = key.data
                    try:
                        client.ask(receive(client.connection))
                    except (EOFError, OSError):
                        self._selector.unregister(client.connection)
                        client.connection.close()

    def _welcome(self, connection: socket.socket) -> None:
        connection.settimeout(self._hang_s)
        try:
            memory = receive_hello(connection)
            send(connection, self._geometry)
        except (EOFError, OSError):
            connection.close()
            return
        client = _Client(connection, memory, self._batches, self._geometry.crop_side_px)
        self._selector.register(connection, selectors.EVENT_READ, client)


class _Client:
    """One client, which asks one thing at a time."""

    def __init__(
        self,
        connection: socket.socket,
        memory: mmap.mmap,
        batches: dict[str, Batches],
        crop_side_px: int,
    ) -> None:
        self.connection = connection
        self._pictures: UInt8Array = np.frombuffer(memory, dtype=np.uint8, count=PICTURE_BYTES)
        self._numbers: Float32Array = np.frombuffer(memory, dtype=np.float32, offset=PICTURE_BYTES)
        self._batches = batches
        self._crop = crop_place(crop_side_px)

    def ask(self, request: object) -> None:
        """Put the pictures of a request into the queue."""
        assert isinstance(request, Request)
        job = _Job(self.connection, self._numbers, len(request.canvases))
        for number, (offset, height_px, width_px) in enumerate(request.canvases):
            end = offset + height_px * width_px * 3
            canvas = self._pictures[offset:end].reshape(height_px, width_px, 3)
            detects = request.network == "detector"
            place = canvas_place(height_px, width_px) if detects else self._crop
            item = Item(
                place, canvas, job.receiver(number, place.height_px, place.width_px), request.alone
            )
            self._batches[request.network].put(item)


class _Job:
    """One request of which answers come; all of them in one thread."""

    def __init__(self, connection: socket.socket, numbers: Float32Array, n_answers: int) -> None:
        self._connection = connection
        self._numbers = numbers
        self._answers: list[Answer | None] = [None] * n_answers
        self._missing = n_answers
        self._end = 0
        self._failure = ""

    def receiver(
        self, number: int, height_px: int, width_px: int
    ) -> "Callable[[Float32Array | Exception], None]":
        """Return what takes one of the answers."""

        def receive_row(row: Float32Array | Exception) -> None:
            if isinstance(row, Exception):
                self._failure = str(row) or type(row).__name__
            else:
                self._numbers[self._end : self._end + len(row)] = row
                offset = PICTURE_BYTES + 4 * self._end
                self._answers[number] = Answer(offset, len(row), height_px, width_px)
                self._end += len(row)
            self._missing -= 1
            if not self._missing:
                self._reply()

        return receive_row

    def _reply(self) -> None:
        answers = () if self._failure else tuple(one for one in self._answers if one is not None)
        try:
            send(self._connection, Reply(answers, self._failure))
        except OSError:  # The client is gone; its end of file is noticed elsewhere.
            return


def _give_up(error: BaseException) -> None:
    """End the process: after an error other than a lack of memory a card answers no more."""
    traceback.print_exception(error)
    os._exit(4)
