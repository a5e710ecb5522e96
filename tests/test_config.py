"""The settings of the environment."""

import sys
from pathlib import Path

import pytest

from facesim_index import config
from facesim_index.config import DEFAULT_PACK
from facesim_index.errors import UsageError


def test_config_reads_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACESIM_MODEL", "FACESIM_INDEX", "INSIGHTFACE_HOME", "FACESIM_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert config.default_index() == Path("faces.facesim")
    assert config.default_model() == DEFAULT_PACK
    assert config.models_folder() == tmp_path / ".insightface" / "models"
    monkeypatch.setenv("INSIGHTFACE_HOME", "/shared")
    assert config.models_folder() == Path("/shared/models")
    monkeypatch.setenv("FACESIM_MODELS", "~/own")
    assert config.models_folder() == tmp_path / "own" / "models"
    monkeypatch.setenv("FACESIM_INDEX", "")
    assert config.default_index() == Path("faces.facesim")
    monkeypatch.setenv("FACESIM_INDEX", "~/photos.facesim")
    assert config.default_index() == tmp_path / "photos.facesim"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the folder is another")
def test_state_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert config.state_folder() == Path("/state/facesim")


def test_unknown_home_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no-such-user"):
        config.expanded("~no-such-user/x")
