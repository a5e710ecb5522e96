"""Write docs/cli.md from the commands themselves; `make docs` runs it.

A test compares the file with what this gives, so that it can never be stale.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from facesim_index.cli.main import main as facesim

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """\
# The command line

Made by `make docs` from the commands themselves.

Results go to standard output; progress, messages and errors go to standard error.
Exit codes: 0 done, 1 it could not be done (the message says why), 2 wrong usage,
130 interrupted.  `query` exits 1 when its picture has no face, `verify` and `doctor`
when they find a problem, `calibrate check` when degrees claim too much.

## Completion in the shell

```sh
# bash: add to ~/.bashrc
eval "$(_FACESIM_COMPLETE=bash_source facesim)"
# zsh: add to ~/.zshrc
eval "$(_FACESIM_COMPLETE=zsh_source facesim)"
# fish: write to ~/.config/fish/completions/facesim.fish
_FACESIM_COMPLETE=fish_source facesim | source
```
"""


def document() -> str:
    """Return the whole page."""
    root = click.Context(facesim, info_name="facesim", **facesim.context_settings)
    parts = [f"## {title}\n\n```text\n{text}\n```\n" for title, text in pages(facesim, root)]
    return "\n".join([HEAD, *parts])


def pages(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the path and the help of a command and of all below it."""
    yield context.command_path, command.get_help(context).strip()
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            inner = click.Context(child, info_name=name, parent=context, max_content_width=100)
            yield from pages(child, inner)


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
