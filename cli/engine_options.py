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


def numerics_option(default: str) -> Callable[[_Command], _Command]:
    """Return the option ``--numerics``; None says that the user left the choice to `default`."""
    return click.option(
        "--numerics",
        type=click.Choice(["fp32", "bf16"]),
        help="bf16: recognise faces in bfloat16, with OpenVINO (facesim-index[openvino]) and a "
        f"processor that has it.  [default: {default}]",
    )


def provider_option() -> Callable[[_Command], _Command]:
    """Return the option ``--provider``."""
    return click.option(
        "--provider",
        type=click.Choice(["auto", "cpu", "cuda", "openvino"]),
        default="auto",
        show_default=True,
        help="Where the networks run.  auto: the CPU, or OpenVINO for --numerics bf16.  cuda: an "
        "NVIDIA card, in batches, which pays for thousands of pictures.",
    )
