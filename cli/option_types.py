"""Types of options and arguments, where those of click let too much pass or ask too early."""

import math
import os

import click

MAX_ID = 2**63 - 1
"""As in `facesim_index.records`, which takes long to import."""


class FiniteRange(click.FloatRange):
    """A number in a range, which neither ``nan`` nor infinity is: the one passes any comparison."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class FaceNumber(click.ParamType[int]):
    """The id of a face; whether there is such a face is for the index to say."""

    name = "integer"

    def convert(self, value: int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the id."""
        number = int(click.INT.convert(value, param, ctx))
        if abs(number) > MAX_ID:
            self.fail(f"{value!r} is no face id: it has too many digits.", param, ctx)
        return number


class UnseenPath(click.Path):
    """A path that is not looked at here: a file system that does not answer would keep us from all.

    Whoever uses the path finds out whether anything is there.
    """

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Return the path as it was given."""
        return self.coerce_path_result(value)


class PatientPath(click.Path):
    """A path that is looked at, as `click.Path` does, but such that Ctrl-C ends the waiting."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Return the path."""
        from facesim_index.utils.threads import in_daemon_thread, is_done

        looking = in_daemon_thread(lambda: super(PatientPath, self).convert(value, param, ctx))
        while not is_done(looking):
            pass
        return looking.result()


def parse_number(word: str) -> int | None:
    """Return the id that a word is, or None when it is none.

    Parameters
    ----------
    word : str

    Returns
    -------
    int or None

    Examples
    --------
    >>> parse_number("42"), parse_number("-1"), parse_number("9" * 20), parse_number("Anna")
    (42, None, None, None)
    """
    if not (word.isascii() and word.isdigit() and len(word.lstrip("0")) <= len(str(MAX_ID))):
        return None
    number = int(word.lstrip("0") or "0")
    return number if number <= MAX_ID else None
