"""The worker's side of a card: a detector and a recogniser that ask the card's process."""

import contextlib
import mmap
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facesim_index.engine.alignment import ARCFACE_TEMPLATE, CropTemplate
from facesim_index.engine.card.messages import (
    NUMBER_BYTES,
    PICTURE_BYTES,
    Hello,
    NetworkName,
    Reply,
    Request,
    new_socket,
    receive,
    send,
)
from facesim_index.engine.card.networks import Geometry
from facesim_index.engine.detection import CanvasFaces, CanvasGeometry
from facesim_index.engine.scrfd import LAYOUTS, canvas_faces
from facesim_index.errors import ProviderError
from facesim_index.records import Float32Array, UInt8Array

#: More crops than these are asked for one after the other.
MOST_CROPS = 32
#: The numbers of so many canvases fit into the memory that is shared.
_MOST_CANVASES = 16
_MOST_CANVAS_BYTES = PICTURE_BYTES
#: After a loss so many requests are in no batch with those of others.
_ALONE = 32
_RETRY_S = 0.05
_WIDTHS = (1, 4, 10)


class CardLostError(ProviderError):
    """The process of a card ended, or hung, while it was asked."""


class CardConnection:
    """One client's connection with the process of a card, which may be started again.

    Parameters
    ----------
    address : Path
        Where that process listens.
    start_s : float
        How long to wait for it where there is none, in seconds.
    answer_s : float
        How long to wait for an answer, in seconds.

    Raises
    ------
    CardLostError
        There is no such process.
    """

    def __init__(self, address: Path, start_s: float, answer_s: float) -> None:
        self._address = address
        self._start_s = start_s
        self._answer_s = answer_s
        self._descriptor = os.memfd_create("facesim-card")
        os.ftruncate(self._descriptor, PICTURE_BYTES + NUMBER_BYTES)
        self._memory = mmap.mmap(self._descriptor, PICTURE_BYTES + NUMBER_BYTES)
        self._bytes: UInt8Array = np.frombuffer(self._memory, dtype=np.uint8)
        self._socket: socket.socket | None = None
        self._n_alone = 0
        self.geometry = self._connect()

    def __del__(self) -> None:
        """Close the connection; one that was never made has nothing to close."""
        with contextlib.suppress(AttributeError):
            self._disconnect()
            os.close(self._descriptor)

    def ask(
        self, network: NetworkName, canvases: Sequence[UInt8Array]
    ) -> list[tuple[Float32Array, int, int]]:
        """Let a network see pictures.

        Parameters
        ----------
        network : {"detector", "recogniser"}
        canvases : sequence of ndarray of shape (height, width, 3), uint8

        Returns
        -------
        list of tuple of (numbers, height_px, width_px)
            One for each picture: what came out, and the size of what the network really saw.  The
            numbers are valid until the next call.

        Raises
        ------
        MemoryError
            The card has not enough memory.
        CardLostError
            The process of the card ended, or did not answer.  The next call waits for another one.
        """
        places = []
        end = 0
        for canvas in canvases:
            place = self._bytes[end : end + canvas.size]
            place.reshape(canvas.shape)[...] = canvas
            places.append((end, *canvas.shape[:2]))
            end += canvas.size
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        try:
            send(self._socket, Request(network, tuple(places), alone=self._n_alone > 0))
            reply = receive(self._socket)
        except (OSError, EOFError) as error:
            self._disconnect()
            # Whether it was one of these pictures nobody knows: the next ones go by themselves.
            self._n_alone = _ALONE
            raise CardLostError(
                "the process of the card ended while it computed this picture"
            ) from error
        assert isinstance(reply, Reply)
        self._n_alone = max(0, self._n_alone - 1)
        if reply.failure:
            raise MemoryError(reply.failure)
        return [
            (
                np.frombuffer(
                    self._memory, dtype=np.float32, count=answer.n_numbers, offset=answer.offset
                ),
                answer.height_px,
                answer.width_px,
            )
            for answer in reply.answers
        ]

    def _connect(self) -> Geometry:
        """Connect with the process, or wait until there is a new one."""
        self._disconnect()
        deadline = time.monotonic() + self._start_s
        while True:
            connection = new_socket()
            connection.settimeout(self._answer_s)
            try:
                connection.connect(str(self._address))
                send(connection, Hello(), self._descriptor)
                geometry = receive(connection)
            except (OSError, EOFError) as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise CardLostError(
                        "the process of the card is gone, and no other one was started"
                    ) from error
                time.sleep(_RETRY_S)
            else:
                assert isinstance(geometry, Geometry)
                self._socket = connection
                return geometry

    def _disconnect(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


class CardDetector:
    """A SCRFD detector on a card; satisfies `facesim_index.engine.detection.Detector`.

    Parameters
    ----------
    connection : CardConnection
    """

    def __init__(self, connection: CardConnection) -> None:
        self._connection = connection

    @property
    def canvas(self) -> CanvasGeometry:
        """At which sizes pictures are shown to it."""
        return self._connection.geometry.canvas

    def detect(self, canvases: Sequence[UInt8Array], *, min_score: float) -> list[CanvasFaces]:
        """Find the faces on canvases, all at once.

        Parameters
        ----------
        canvases : sequence of ndarray of shape (height, width, 3), uint8
            In RGB.  Both sides are multiples of the largest stride.
        min_score : float
            Anchors with a lower score are left out; in [0, 1].

        Returns
        -------
        list of CanvasFaces
            One for each canvas, in pixels of that canvas.
        """
        found: list[CanvasFaces] = []
        some: list[UInt8Array] = []
        n_bytes = 0
        for canvas in canvases:
            if n_bytes + canvas.size > _MOST_CANVAS_BYTES or len(some) == _MOST_CANVASES:
                found += self._detect(some, min_score)
                some, n_bytes = [], 0
            some.append(canvas)
            n_bytes += canvas.size
        return found + self._detect(some, min_score)

    def _detect(self, canvases: Sequence[UInt8Array], min_score: float) -> list[CanvasFaces]:
        if not canvases:
            return []
        seen = self._connection.ask("detector", canvases)
        per_place, strides = LAYOUTS[self._connection.geometry.n_outputs]
        found = []
        for canvas, (numbers, height_px, width_px) in zip(canvases, seen, strict=True):
            anchors = [
                per_place * (height_px // stride) * (width_px // stride) for stride in strides
            ]
            widths = [(rows, width) for width in _WIDTHS for rows in anchors]
            ends = np.cumsum([rows * width for rows, width in widths])
            outputs = [
                part.reshape(shape)
                for part, shape in zip(np.split(numbers, ends[:-1]), widths, strict=True)
            ]
            found.append(
                canvas_faces(
                    outputs, (height_px, width_px), min_score=min_score, within=canvas.shape[:2]
                )
            )
        return found


class CardRecogniser:
    """An ArcFace recogniser on a card; satisfies `facesim_index.engine.face_engine.Recogniser`.

    Parameters
    ----------
    connection : CardConnection
    """

    def __init__(self, connection: CardConnection) -> None:
        self._connection = connection

    @property
    def crop_side_px(self) -> int:
        """Side of the crops that it is given."""
        return self._connection.geometry.crop_side_px

    @property
    def template(self) -> CropTemplate:
        """Where the landmarks of a face are in a crop."""
        return ARCFACE_TEMPLATE

    def embed(self, crops: Sequence[UInt8Array]) -> Float32Array:
        """Return the embeddings of aligned crops.

        Parameters
        ----------
        crops : sequence of ndarray of shape (crop_side_px, crop_side_px, 3), uint8
            In RGB; at least one.

        Returns
        -------
        embeddings : ndarray of shape (n_crops, dimension), float32
            Of any norm.
        """
        rows: list[Float32Array] = []
        for start in range(0, len(crops), MOST_CROPS):
            asked = self._connection.ask("recogniser", crops[start : start + MOST_CROPS])
            rows += [np.array(numbers) for numbers, _, _ in asked]
        return np.stack(rows)
