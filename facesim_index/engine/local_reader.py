"""Reading pictures in worker processes of this computer."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facesim_index.engine.base import EngineSource
from facesim_index.engine.reading import make_reader
from facesim_index.records import Failure, PictureReading
from facesim_index.utils.threads import usable_cores
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool

PICTURE_TIMEOUT_S = 120.0
WORKER_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class LocalReader:
    """Reads pictures in worker processes; satisfies `facesim_index.engine.base.PictureReader`.

    Attributes
    ----------
    engine : EngineSource
        What each worker loads its engine from.
    workers : int, optional
        Most processes at a time, at least 1; by default one for each core that this process may
        use.
    """

    engine: EngineSource
    workers: int | None = None

    def read(
        self, paths: Iterable[Path], should_stop: Callable[[], bool]
    ) -> Iterator[PictureReading | Failure | ItemFailed]:
        """Read pictures.

        Parameters
        ----------
        paths : iterable of Path
            Taken no faster than they are read, a bounded number ahead.
        should_stop : callable
            Once it is true no more pictures are begun.

        Yields
        ------
        PictureReading, Failure or ItemFailed
            What came of each picture, in order.

        Raises
        ------
        UsageError
            `workers` is less than 1.
        PipelineError, ModelError, ProviderError
            The workers cannot run.
        """
        bounds = PoolSettings(
            workers=usable_cores() if self.workers is None else self.workers,
            timeout_s=PICTURE_TIMEOUT_S,
            memory_limit_bytes=WORKER_MEMORY_BYTES,
        )
        with WorkerPool(make_reader, self.engine, bounds) as pool:
            for _, outcome in pool.map_ordered(paths, should_stop=should_stop):
                yield outcome
