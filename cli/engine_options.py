"""Options about the engine that several commands share."""

from collections.abc import Callable
from typing import TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., object])


def augment_option(default: str) -> Callable[[_Command], _Command]:
    """Return the option ``--augment``; None says that the user left the choice to `default`."""
    return click.option(
        "--augment",
        type=click.Choice(["none", "flip"]),
        help="flip: embed each face and its mirror image together, in two thirds more time.  "
        f"[default: {default}]",
    )
