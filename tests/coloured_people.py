"""Index and command line for tests about people: made with the fake engine, colours for faces."""

from pathlib import Path

from click.testing import CliRunner, Result

from facesim_index.calibration.document import to_json
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.store.catalog import calibration_rows
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE

RED, DARK_RED, GREEN, DARK_GREEN, BLUE = (
    *((200, 20, 20), (203, 22, 25)),
    *((20, 200, 20), (22, 203, 25)),
    (20, 20, 200),
)
CURVE = Calibration(
    "made up",
    FAKE_IDENTITY.key,
    "by hand",
    ((0.15, -4.0), (0.45, 4.0)),
    Evidence("made up", 2, 10, 10, "2026-01-01"),
)


def facesim(index: Path, *words: object) -> Result:
    """Run the command line in this process, with the fake engine."""
    return CliRunner().invoke(
        main,
        ["--index", str(index), *(str(word) for word in words)],
        obj=State(engine=FAKE),
        catch_exceptions=False,
    )


def put_curve(store: FolderStore) -> None:
    """Let degrees of an index be made with `CURVE`."""
    with store.catalog.write() as transaction:
        calibration_rows.put(transaction, CURVE.name, CURVE.engine_key, to_json(CURVE))
        calibration_rows.activate(transaction, CURVE.name)
