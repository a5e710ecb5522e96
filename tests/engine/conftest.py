"""The real engine on the CPU, loaded once."""

import pytest

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.loading import EngineSettings
from facesim_index.models.pack import ModelFiles
from facesim_index.models.resolution import resolve


@pytest.fixture(scope="session")
def model() -> ModelFiles:
    return resolve(None)


@pytest.fixture(scope="session")
def settings(model: ModelFiles) -> EngineSettings:
    return EngineSettings(model, provider="cpu")


@pytest.fixture(scope="session")
def engine(settings: EngineSettings) -> FaceEngine:
    return settings.load()
