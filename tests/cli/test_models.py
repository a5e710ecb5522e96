"""``facesim models`` says of every pack what its licence allows."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from facesim_index.cli.main import main
from facesim_index.models.registry import FREE_PACK, PUBLISHED_PACKS


@pytest.fixture(autouse=True)
def no_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own packs out of it."""
    monkeypatch.setenv("FACESIM_MODELS", str(tmp_path))
    monkeypatch.delenv("FACESIM_MODEL", raising=False)


def test_every_line_of_the_list_says_what_is_allowed() -> None:
    result = CliRunner().invoke(main, ["models", "list"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for name in PUBLISHED_PACKS:
        allowed = "commercial use" if name == FREE_PACK else "research only"
        assert f"  {allowed}  " in lines[name]
    assert f"facesim models install {FREE_PACK}" in result.stdout


def test_the_json_list_says_so_too() -> None:
    result = CliRunner().invoke(main, ["models", "list", "--json"], catch_exceptions=False)
    allows = {pack["name"]: pack["allows"] for pack in json.loads(result.stdout)}
    assert allows.pop(FREE_PACK) == "commercial use"
    assert set(allows.values()) == {"research only"}


def test_help_names_the_pack_for_commercial_use() -> None:
    for words in (["models"], ["models", "install"]):
        result = CliRunner().invoke(main, [*words, "--help"], catch_exceptions=False)
        assert FREE_PACK in result.stdout
