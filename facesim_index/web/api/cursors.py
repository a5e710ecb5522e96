"""Where a page of a long list ended, as a word that a client hands back unread."""

import base64
import binascii
import json
from collections.abc import Sequence

from facesim_index.web.guard.problems import ProblemError

Place = int | str


def cursor_of(*place: Place) -> str:
    """Return the cursor of a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(place).encode("ascii")).decode("ascii")


def place_of(cursor: str, kinds: Sequence[type[Place]]) -> list[Place]:
    """Return the place that a cursor names.

    Parameters
    ----------
    cursor : str
    kinds : sequence of type
        What its parts are.

    Raises
    ------
    ProblemError
        It is none that this list gave.
    """
    try:
        place = json.loads(base64.b64decode(cursor.encode("ascii"), b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        place = None
    fits = isinstance(place, list) and len(place) == len(kinds)
    if not fits or not all(map(_is_part, place, kinds)):
        raise ProblemError(422, "cursor", "the cursor is none that this list gave; begin anew")
    return list(place)


def _is_part(part: object, kind: type[Place]) -> bool:
    if type(part) is not kind:
        return False
    return not isinstance(part, int) or -(2**62) < part < 2**62
