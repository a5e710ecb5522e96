"""The table of people: one row for each assigned face, as ``export people`` gives it."""

from collections.abc import Iterator

from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.protocols import CatalogView

COLUMNS = ("person_id", "name", "face_id", "confirmed", "path", "x", "y", "w", "h")

Cell = int | float | str | None
_AT_ONCE = 4096


def rows(view: CatalogView, *, ignored: bool = False) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells of `COLUMNS` for each face of each person, by person and face.

    Parameters
    ----------
    view : CatalogView
    ignored : bool, default=False
        Include the people that were ignored.

    Yields
    ------
    tuple
        One row; positions and lengths are in pixels, rounded to a hundredth.
    """
    names = {
        row.person_id: row.name
        for row in people_rows.persons(view.transaction)
        if ignored or not row.ignored
    }
    people = sorted(names)
    for start in range(0, len(people), _AT_ONCE):
        found = people_rows.assignments_of(view.transaction, people[start : start + _AT_ONCE])
        faces = {face.face_id: face for face in face_rows.faces(view.transaction, found.face_ids)}
        listed = zip(
            found.person_ids.tolist(),
            found.face_ids.tolist(),
            found.confirmed.tolist(),
            strict=True,
        )
        for person, face_id, confirmed in sorted(listed):
            face = faces[face_id]
            box = (face.box.x, face.box.y, face.box.w, face.box.h)
            yield (
                person,
                names[person],
                face_id,
                str(confirmed).lower(),
                face.path,
                *(round(value, 2) for value in box),
            )
