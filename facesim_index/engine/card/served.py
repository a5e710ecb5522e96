"""The engine of a worker whose networks are computed on a card, beside it."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from facesim_index.engine.base import EngineSource, FaceEngine, Provider, SharedEngine
from facesim_index.engine.card.client import CardConnection, CardDetector, CardRecogniser
from facesim_index.engine.card.messages import socket_path
from facesim_index.engine.card.networks import open_networks
from facesim_index.engine.card.supervisor import HANG_S, CardProcesses, MakeNetworks
from facesim_index.engine.face_engine import TogetherEngine
from facesim_index.records import EngineIdentity

#: How long a worker waits for the process of a card, in seconds.
START_S = 100.0
#: While its pictures are on the card, a worker has nothing to do: another one uses the core.
WORKERS_A_CORE = 2
#: Several pictures that travel together fill the batches of the card, and the processes that
#: hand them out and gather what was found have less to do.
PICTURES_A_TASK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedEngine(EngineSource):
    """How a worker finds the processes of the cards; small enough to be sent to it.

    Attributes
    ----------
    folder : Path
        Where the processes listen.
    n_cards : int
    served_identity : EngineIdentity
        The identity of the engine whose networks they compute.
    served_weights : str
        The name of its weights.
    answer_s : float
        How long to wait for an answer, in seconds.
    """

    folder: Path
    n_cards: int
    served_identity: EngineIdentity
    served_weights: str
    answer_s: float = 1.25 * HANG_S

    @property
    def identity(self) -> EngineIdentity:
        """The identity of the engine whose networks the cards compute."""
        return self.served_identity

    @property
    def weights_name(self) -> str:
        """The name of its weights."""
        return self.served_weights

    def running_provider(self) -> Provider:
        """Return what it runs on, which was found out when the processes were started."""
        return self.provider

    def load(self) -> FaceEngine:
        """Connect with one of the cards.

        Returns
        -------
        FaceEngine

        Raises
        ------
        ProviderError
            The process of the card is gone.
        """
        cv2.setNumThreads(1)
        address = socket_path(self.folder, os.getpid() % self.n_cards)
        connection = CardConnection(address, START_S, self.answer_s)
        return TogetherEngine(
            self.identity,
            self.provider,
            CardDetector(connection),
            CardRecogniser(connection),
            min_detection=self.min_detection,
            min_face_px=self.min_face_px,
        )


@contextlib.contextmanager
def serve(
    engine: EngineSource,
    sources: Sequence[object],
    *,
    make_networks: MakeNetworks = open_networks,
    hang_s: float = HANG_S,
) -> Iterator[SharedEngine]:
    """Start a process for each card, and end them afterwards.

    Parameters
    ----------
    engine : EngineSource
        Whose networks the cards compute.
    sources : sequence of object
        What `make_networks` is given, one for each card.
    make_networks : callable, default=open_networks
        Makes the networks of a card in its process; importable by name.
    hang_s : float, default=HANG_S
        When a batch takes longer than this, in seconds, the card hangs.

    Yields
    ------
    SharedEngine

    Notes
    -----
    It does not wait for the processes; `SharedEngine.check` tells when they cannot be started.
    """
    with CardProcesses(make_networks, sources, hang_s=hang_s) as cards:
        source = ServedEngine(
            folder=cards.folder,
            n_cards=len(sources),
            served_identity=engine.identity,
            served_weights=engine.weights_name,
            answer_s=1.25 * hang_s,
            provider=engine.provider,
            min_detection=engine.min_detection,
            min_face_px=engine.min_face_px,
            augment=engine.augment,
            numerics=engine.numerics,
        )
        yield SharedEngine(source, WORKERS_A_CORE, PICTURES_A_TASK, cards.check)
