"""The index of the documentation's examples: a holiday's photos, seen by the fake engine.

- Anna is alone on two pictures, Ben on one, Carla on one, and Anna and Ben are together on one.
- ``sea.png`` shows nobody, and ``broken.jpg`` is no picture.
- The index has been grouped into people: person 1 was named Anna, person 2 (Ben) has no name yet,
  and Carla's single face is not assigned to anybody.
- The folder ``people`` has one folder of pictures for each of eight other people, for labels.
- ``face_pairs.csv`` labels pairs of faces of the index, ``picture_pairs.csv`` pictures of people.

The engine and the calibration that are taken when none is named are made up here.  So the examples
read as they do for a user, and need neither weights nor real pictures.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from facesim_index import FaceIndex
from facesim_index.calibration import shipped
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.search import comparison
from facesim_index.session import session
from tests.builders import FAKE
from tests.example_pictures import Colour, fake_photo

PHOTOS = "photos"
PEOPLE = "people"
INDEX = "holiday.facesim"

ANNA: tuple[Colour, ...] = ((200, 20, 20), (203, 22, 25), (205, 25, 28))
BEN: tuple[Colour, ...] = ((20, 200, 20), (22, 203, 25))
CARLA: Colour = (20, 20, 200)
PICTURES: dict[str, list[Colour]] = {
    "anna_1.png": [ANNA[0]],
    "anna_2.png": [ANNA[1]],
    "anna_and_ben.png": [ANNA[2], BEN[0]],
    "ben.png": [BEN[1]],
    "carla.png": [CARLA],
}
NAMES = ("Dana", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Karl")
SHADES = (1, 2, 3)
FACE_PAIRS = "face_a,face_b,same\n1,2,1\n4,5,1\n1,6,0\n"
PICTURE_PAIRS = "\n".join(
    (
        "path_a,path_b,same",
        *(f"{name}/1.png,{name}/{shade}.png,1" for name in NAMES[:3] for shade in SHADES[1:]),
        *(f"{NAMES[0]}/{shade}.png,{NAMES[1]}/{shade}.png,0" for shade in SHADES),
    )
)

#: Stands for the calibration that comes with the package for an engine.
CALIBRATION = Calibration(
    name="example",
    engine_key=FAKE_IDENTITY.key,
    method="made up",
    knots=((-1.0, -3.0), (0.0, -2.0), (0.5, 1.0), (1.0, 3.0)),
    band=((-3.5, -2.5), (-2.25, -1.75), (0.75, 1.25), (2.5, 3.5)),
    false_matches=((-1.0, 0.0), (0.0, -0.3), (0.5, -3.0), (1.0, -5.0)),
    evidence=Evidence("made up", 40, 300, 7000, "2026-01-01"),
)


def make_example(folder: Path) -> None:
    """Make the pictures, the labels and the index in an empty folder."""
    photos = folder / PHOTOS
    photos.mkdir()
    for name, colours in PICTURES.items():
        (photos / name).write_bytes(fake_photo(colours))
    (photos / "sea.png").write_bytes(fake_photo([CARLA], side_px=16))
    (photos / "broken.jpg").write_bytes(b"this is no picture")
    for number, name in enumerate(NAMES):
        of_person = folder / PEOPLE / name
        of_person.mkdir(parents=True)
        for shade in SHADES:
            picture = fake_photo([(32 * number + shade, 120 + shade, 240)])
            (of_person / f"{shade}.png").write_bytes(picture)
    (folder / "face_pairs.csv").write_text(FACE_PAIRS, encoding="utf-8")
    (folder / "picture_pairs.csv").write_text(PICTURE_PAIRS, encoding="utf-8")
    with FaceIndex.open(folder / INDEX, create=True, engine=FAKE) as index:
        index.ingest(photos, workers=1)
        index.people.cluster()
        index.people.name(1, "Anna")


def open_example() -> FaceIndex:
    """Open the index of the example, whose folder is the current one."""
    return FaceIndex.open(INDEX, engine=FAKE)


def use_made_up_engine(patched: pytest.MonkeyPatch) -> None:
    """Let the engine and the calibration that are taken when none is named be made-up ones."""
    calibrations = {**shipped._shipped(), CALIBRATION.engine_key: CALIBRATION}
    patched.setattr(shipped, "_shipped", lambda: calibrations)
    for module in (session, comparison):
        real = vars(module)["settings_for"]
        patched.setattr(module, "settings_for", functools.partial(settings_for, real))


def settings_for(real: Callable[..., object], model: str | Path | None, *rest: object) -> object:
    """Return the settings of the made-up engine, unless another model is named."""
    return (FAKE, "fake") if model in (None, "fake") else real(model, *rest)
