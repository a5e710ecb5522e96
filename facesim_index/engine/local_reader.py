"""Which engine reads pictures, and the worker processes that do it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from facesim_index.engine.base import EngineSettings, Provider
from facesim_index.engine.reading import make_reader
from facesim_index.engine.runtimes.probe import probe_provider
from facesim_index.models.resolution import pack_name, resolve
from facesim_index.records import Augment, Failure, Numerics, PictureReading
from facesim_index.utils.threads import usable_cores
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool

PICTURE_TIMEOUT_S = 120.0
WORKER_MEMORY_BYTES = 4 << 30

logger = logging.getLogger(__name__)


def settings_for(
    model: str | Path | None,
    provider: Provider,
    augment: Augment = "none",
    numerics: Numerics = "fp32",
) -> tuple[EngineSettings, str]:
    """Return the settings of a model's engine, and the name its weights are found by again.

    Parameters
    ----------
    model : str, Path or None
        As for `models.resolve`.
    provider : {"auto", "cpu", "cuda", "openvino"}
    augment : {"none", "flip"}, default="none"
    numerics : {"fp32", "bf16"}, default="fp32"

    Returns
    -------
    settings : EngineSettings
    name : str
        The pack's name, or the absolute path of the folder.

    Raises
    ------
    ModelError
        There is no such model, or it is damaged.
    """
    files = resolve(model)
    is_folder = model is not None and pack_name(model) is None
    name = str(Path(model).expanduser().resolve()) if is_folder and model else files.name
    settings = EngineSettings(model=files, provider=provider, augment=augment, numerics=numerics)
    return settings, name


def running_provider(settings: EngineSettings) -> Provider:
    """Probe what the networks will run on, once for all workers.

    Raises
    ------
    ProviderError
        The provider or the numerics asked for do not run here.
    """
    if settings.model is None:
        return "cpu"
    provider = probe_provider(settings.provider, settings.numerics)
    logger.info("the networks run on: %s", provider)
    return provider


def read_all(
    settings: EngineSettings,
    workers: int | None,
    should_stop: Callable[[], bool],
    paths: Iterable[Path],
) -> Iterator[PictureReading | Failure | ItemFailed]:
    """Read pictures in worker processes.

    Parameters
    ----------
    settings : EngineSettings
    workers : int or None
        None: one for each core that this process may use.
    should_stop : callable
        Once it is true no more pictures are begun.
    paths : iterable of Path

    Yields
    ------
    PictureReading, Failure or ItemFailed
        What came of each picture, in order.

    Raises
    ------
    PipelineError, ModelError, ProviderError
        The workers cannot run.
    """
    bounds = PoolSettings(
        workers=usable_cores() if workers is None else workers,
        timeout_s=PICTURE_TIMEOUT_S,
        memory_limit_bytes=WORKER_MEMORY_BYTES,
    )
    with WorkerPool(make_reader, settings, bounds) as pool:
        for _, outcome in pool.map_ordered(paths, should_stop=should_stop):
            yield outcome
