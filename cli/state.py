"""What the options before the command say, handed to every command."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from facesim_index.utils.text import printable

if TYPE_CHECKING:
    from facesim_index.engine.base import EngineSource
    from facesim_index.index import FaceIndex

#: Where a context keeps the words of the command line.
TYPED = "facesim_index.typed"

Provider = Literal["auto", "cpu", "cuda", "openvino"]
Augment = Literal["none", "flip"]
Numerics = Literal["fp32", "bf16"]


@dataclass(slots=True)
class State:
    """The global options.

    Attributes
    ----------
    index : Path or None
        None for the default.
    quiet : bool
        No progress and no messages but errors.
    engine : EngineSource or None
        Set by tests that run without weights.
    """

    index: Path | None = None
    quiet: bool = False
    engine: "EngineSource | None" = None

    def open(
        self,
        *,
        create: bool = False,
        model: str | None = None,
        provider: Provider = "auto",
        augment: Augment | None = None,
        numerics: Numerics | None = None,
    ) -> "FaceIndex":
        """Open the index that the options name."""
        from facesim_index.index import FaceIndex

        return FaceIndex.open(
            self.index,
            create=create,
            model=model,
            provider=provider,
            augment=augment,
            numerics=numerics,
            engine=self.engine,
        )

    def say(self, message: str) -> None:
        """Tell the user something that is not a result."""
        if not self.quiet:
            click.echo(printable(message), err=True)

    def notice_licence(self, model: str | Path | None) -> None:
        """Say once, at first use, what the licence of the weights allows."""
        if self.engine is not None:
            return
        from facesim_index.models import registry, resolution

        if resolution.licence_notice_due(resolution.resolve(model)):
            click.echo(f"Note: {registry.LICENCE_NOTICE}", err=True)
            resolution.mark_licence_notice_shown()


pass_state = click.make_pass_decorator(State, ensure=True)
