"""Photos, each known by its colours, of which it is told what an index keeps."""

from pathlib import Path

from tests.coloured_people import BLUE, DARK_RED, GREEN, RED
from tests.example_pictures import fake_photo


def make_photos(folder: Path) -> Path:
    """Write photos of red (in three files, two of them equal), green beside red, and blue."""
    folder.mkdir()
    (folder / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "red.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "red copy.png").write_bytes(fake_photo([DARK_RED]))
    (folder / "blue.png").write_bytes(fake_photo([BLUE]))
    return folder
