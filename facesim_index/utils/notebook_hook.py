"""Registry of the functions that draw records in a notebook.

A notebook asks what it shows for `_repr_html_`.  Records are defined in low layers, which must
not import pages and picture files.  So `display.notebook`, in a high layer, registers here the
functions that draw them.  Where it was not imported, records are shown as text.
"""

from collections.abc import Callable
from typing import TypeVar

_DRAWN_BY: dict[type, Callable[..., str]] = {}


class Shown:
    """Base of the records that a notebook shows as HTML, once `draws` has registered how."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """Return HTML, or None to be shown as text."""
        draw = _DRAWN_BY.get(type(self))
        return None if draw is None else draw(self)


_Record = TypeVar("_Record", bound=Shown)


def draws(kind: type[_Record]) -> Callable[[Callable[[_Record], str]], Callable[[_Record], str]]:
    """Register the decorated function as the one that draws the records of a class.

    Parameters
    ----------
    kind : type
        Exactly this class; classes derived from it are not meant.

    Returns
    -------
    callable
        The decorator, which returns the function unchanged.
    """

    def enter(draw: Callable[[_Record], str]) -> Callable[[_Record], str]:
        _DRAWN_BY[kind] = draw
        return draw

    return enter
