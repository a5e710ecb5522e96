"""Where a page of a long list ended, as a word that a client sends back for the next page."""

import base64
import binascii
import json
from collections.abc import Sequence

from facesim_index.web.guard.problems import ProblemError

Place = int | str

MOST_SKIPPED = 10_000
"""So many matches of a face or a person can be reached page by page."""


def cursor_of(*place: Place) -> str:
    """Return the cursor of a place in a list.

    Parameters
    ----------
    *place : int or str
        What tells the last entry of the page from all others.

    Returns
    -------
    str
        ASCII.

    Examples
    --------
    >>> cursor_of(12, 7)
    'WzEyLCA3XQ=='
    """
    return base64.urlsafe_b64encode(json.dumps(place).encode("ascii")).decode("ascii")


def place_of(cursor: str, kinds: Sequence[type[Place]]) -> list[Place]:
    """Return the place that a cursor names.

    Parameters
    ----------
    cursor : str
    kinds : sequence of type
        The type of each part of the place.

    Returns
    -------
    list of int or str
        One part for each of `kinds`; integers are between -2**62 and 2**62.

    Raises
    ------
    ProblemError
        The list has not given this cursor.

    Examples
    --------
    >>> place_of("WzEyLCA3XQ==", (int, int))
    [12, 7]
    """
    try:
        place = json.loads(base64.b64decode(cursor.encode("ascii"), b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    fits = isinstance(place, list) and len(place) == len(kinds)
    if not fits or not all(map(_is_part, place, kinds)):
        raise _foreign_cursor()
    return list(place)


def id_after(cursor: str | None) -> int | None:
    """Return the id after which a page begins.

    Parameters
    ----------
    cursor : str or None
        None for the first page.

    Returns
    -------
    int or None

    Raises
    ------
    ProblemError
        The list has not given this cursor.

    Examples
    --------
    >>> id_after(cursor_of(7)), id_after(None)
    (7, None)
    """
    return None if cursor is None else int(place_of(cursor, (int,))[0])


def person_after(cursor: str | None) -> tuple[int, int] | None:
    """Return the person after whom a page of people begins.

    Parameters
    ----------
    cursor : str or None
        None for the first page.

    Returns
    -------
    tuple of (int, int), or None
        Number of faces and person id.

    Raises
    ------
    ProblemError
        The list has not given this cursor.

    Examples
    --------
    >>> person_after(cursor_of(12, 7))
    (12, 7)
    """
    if cursor is None:
        return None
    n_faces, person_id = place_of(cursor, (int, int))
    return int(n_faces), int(person_id)


def file_after(cursor: str | None) -> tuple[str, str] | None:
    """Return the file after which a page of files begins.

    Parameters
    ----------
    cursor : str or None
        None for the first page.

    Returns
    -------
    tuple of (str, str), or None
        Folder and name.

    Raises
    ------
    ProblemError
        The list has not given this cursor.

    Examples
    --------
    >>> file_after(cursor_of("/photos", "a.jpg"))
    ('/photos', 'a.jpg')
    """
    if cursor is None:
        return None
    folder, name = place_of(cursor, (str, str))
    return str(folder), str(name)


def n_skipped(cursor: str | None) -> int:
    """Return how many matches were on the pages before.

    Parameters
    ----------
    cursor : str or None
        None for the first page.

    Returns
    -------
    int
        From 0 to `MOST_SKIPPED`.

    Raises
    ------
    ProblemError
        The list has not given this cursor.

    Examples
    --------
    >>> n_skipped(cursor_of(20)), n_skipped(None)
    (20, 0)
    """
    skipped = id_after(cursor) or 0
    if not 0 <= skipped <= MOST_SKIPPED:
        raise _foreign_cursor()
    return skipped


def _is_part(part: object, kind: type[Place]) -> bool:
    if type(part) is not kind:
        return False
    return not isinstance(part, int) or -(2**62) < part < 2**62


def _foreign_cursor() -> ProblemError:
    return ProblemError(422, "cursor", "the cursor is none that this list gave; begin anew")
