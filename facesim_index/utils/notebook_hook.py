"""How records come to be shown as pages, though whoever draws those stands far above them.

A notebook asks what it shows for `_repr_html_`.  Records are at the bottom of the modules and
know neither pages nor picture files; `html_view`, near the top, says here what draws them.
Where that was not imported they are shown as text, like everything else.
"""

from collections.abc import Callable
from typing import TypeVar

_DRAWN_BY: dict[type, Callable[..., str]] = {}


class Shown:
    """What a notebook may show as HTML; `draws` says how."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """Return HTML, or None to be shown as text."""
        draw = _DRAWN_BY.get(type(self))
        return None if draw is None else draw(self)


_Record = TypeVar("_Record", bound=Shown)


def draws(kind: type[_Record]) -> Callable[[Callable[[_Record], str]], Callable[[_Record], str]]:
    """Let the function that this decorates draw the records of a class.

    Parameters
    ----------
    kind : type
        Exactly this class, none derived from it.
    """

    def enter(draw: Callable[[_Record], str]) -> Callable[[_Record], str]:
        _DRAWN_BY[kind] = draw
        return draw

    return enter
