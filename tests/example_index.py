"""The index of the documentation's examples: a holiday's photos, seen by the fake engine.

- Anna is alone on two pictures, Ben on one, Carla on one, and Anna and Ben are together on one.
- ``sea.png`` shows nobody, and ``broken.jpg`` is no picture.
- The index has been grouped into people: person 1 was named Anna, person 2 (Ben) has no name yet,
  and Carla has a single face, which is nobody's.
- The folder ``people`` has one folder of pictures for each of eight other people, for labels.
"""

from pathlib import Path

from facesim_index import FaceIndex
from facesim_index.calibration import shipped
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.engine.fake import FAKE_IDENTITY
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
PICTURES_OF_A_PERSON = 3

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


def shipped_calibrations() -> dict[str, Calibration]:
    """Return the calibrations of the package, and one for the fake engine."""
    return {**shipped._shipped(), CALIBRATION.engine_key: CALIBRATION}


def make_example(folder: Path) -> None:
    """Make the pictures and the index in an empty folder, whose calibrations are as above."""
    photos = folder / PHOTOS
    photos.mkdir()
    for name, colours in PICTURES.items():
        (photos / name).write_bytes(fake_photo(colours))
    (photos / "sea.png").write_bytes(fake_photo([CARLA], side_px=16))
    (photos / "broken.jpg").write_bytes(b"this is no picture")
    for number, name in enumerate(NAMES):
        of_person = folder / PEOPLE / name
        of_person.mkdir(parents=True)
        for shade in range(PICTURES_OF_A_PERSON):
            picture = fake_photo([(32 * number + shade, 120 + shade, 240)])
            (of_person / f"{shade + 1}.png").write_bytes(picture)
    with FaceIndex.open(folder / INDEX, create=True, engine=FAKE) as index:
        index.ingest(photos, workers=1)
        index.people.cluster()
        index.people.name(1, "Anna")
