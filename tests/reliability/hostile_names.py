"""Names made to do harm to terminals, spreadsheets and shells, and an index full of them."""

import os
from pathlib import Path

from click.testing import CliRunner, Result

from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.engine.fake import FAKE_IDENTITY
from tests.builders import FAKE, ingest, new_store
from tests.example_pictures import fake_photo

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)
CURVE = Calibration(
    "made up",
    FAKE_IDENTITY.key,
    "by hand",
    ((0.15, -4.0), (0.45, 4.0)),
    Evidence("made up", 2, 10, 10, "2026-01-01"),
)
#: A line feed, a tab and a bell, a colour, a title, a C1 control, a change of direction, a rubout.
STEERING = "a\n\t\x07\x1b[31m\x1b]0;t\x07\x9b1m\u202egnp\u2028\x7fz"
NOT_UTF8 = os.fsdecode(b"Z\xfcrich\xff")
NAMES = [
    STEERING,
    NOT_UTF8,
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "a;=HYPERLINK(1)",
    'a","=1+1',
    "$(touch pwned);`touch pwned`",
    "%s%n{0}",
    "[red]x[",
    "~",
    "back\\slash\\x3d",
    "\u0430\u4e2d\u05d0\U0001f600",
    "e\u0301\u200b",
]


def make_photos(folder: Path) -> Path:
    """Make one picture and one broken file under each name, in a folder of such a name."""
    photos = folder / f"photos{STEERING}{NOT_UTF8}"
    photos.mkdir()
    for number, name in enumerate(NAMES):
        (photos / f"{name}.png").write_bytes(fake_photo([(20 + 16 * number, 20, 200)]))
        (photos / f"{name}.jpg").write_bytes(b"no picture %d" % number)
    return photos.resolve()


def make_index(photos: Path) -> Path:
    """Make an index of such photos beside them."""
    folder = photos.parent / f"i{STEERING}{NOT_UTF8}.facesim"
    with new_store(folder) as store:
        summary = ingest(store, photos)
    assert (summary.images_embedded, summary.images_failed) == (len(NAMES), len(NAMES))
    return folder


#: Names that people may have, though no terminal, table, spreadsheet or shell should act on them.
FORMULA, MARKUP = '=1+1;"$(touch pwned)"', "[red]x[ <&> \u0430\u4e2d\u05d0\U0001f600 %s{0}"


def facesim(index: Path, *words: object) -> Result:
    """Run the command line in this process with the fake engine, as if to a terminal's colours."""
    return CliRunner().invoke(
        main,
        ["--index", str(index), *(str(word) for word in words)],
        obj=State(engine=FAKE),
        catch_exceptions=False,
        color=True,  # else click itself would take the escape sequences out
    )


def assert_harmless(text: str) -> None:
    steering = {c for c in text if not c.isprintable() and c != "\n"}
    assert steering == set(), (steering, text)
    # A name must not begin a line of its own.
    assert not any(line.startswith(("\\t\\x07", "[31m")) for line in text.splitlines())
