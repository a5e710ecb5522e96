"""On what an engine runs, and what is told when it cannot."""

import dataclasses
from collections.abc import Iterator

import pytest

from facesim_index.engine.base import FaceEngine
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.runtimes import probe
from facesim_index.engine.runtimes.probe import probe_provider
from facesim_index.errors import ProviderError, UsageError


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    probe._cuda_obstacle.cache_clear()
    yield
    probe._cuda_obstacle.cache_clear()


@pytest.mark.usefixtures("fresh_probe")
def test_without_a_gpu_auto_is_cpu_and_cuda_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "cuda_devices", lambda: 0)
    assert probe_provider("cpu") == "cpu"
    assert probe_provider("auto") == "cpu"
    with pytest.raises(ProviderError, match="nvidia-smi"):
        probe_provider("cuda")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fresh_probe")
def test_a_gpu_that_the_runtime_cannot_use_is_found_out_quietly(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if probe.cuda_devices():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(probe, "cuda_devices", lambda: 1)
    assert probe_provider("auto") == "cpu"
    with pytest.raises(ProviderError, match="install"):
        probe_provider("cuda")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("fresh_probe")
def test_cuda_is_never_replaced_silently(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "cuda_devices", lambda: 0)
    with pytest.raises(ProviderError, match="CUDA cannot run here"):
        dataclasses.replace(settings, provider="cuda").load()


def test_auto_stays_on_the_cpu_where_there_is_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_cuda_obstacle", lambda: "")
    assert probe_provider("cuda") == "cuda"
    assert probe_provider("auto") == "cpu"


def test_without_a_card_there_is_nothing_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "cuda_devices", lambda: 0)
    assert probe.card_report() == probe.CardReport((), "", "", ())


def test_libraries_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_can_load", lambda name: "cudnn" not in name)
    assert all("cudnn" in name for name in probe._missing_libraries())


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(UsageError, match="tpu"):
        probe_provider("tpu")


def test_the_engine_says_what_it_runs_on(engine: FaceEngine) -> None:
    assert engine.provider == "cpu"
