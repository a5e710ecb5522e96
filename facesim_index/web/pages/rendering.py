"""The pages as HTML: templates, and the filters that put numbers into words."""

import functools
import importlib.resources
import shlex
from collections.abc import Callable
from typing import ParamSpec

import jinja2
from markupsafe import Markup, escape

from facesim_index.degrees.cautions import caution_sentence, caution_text
from facesim_index.utils.text import printable
from facesim_index.version import __version__
from facesim_index.web.pages import wording

P = ParamSpec("P")

_TEMPLATES = "templates"


def render(template: str, /, **shown: object) -> str:
    """Return a page.

    Whatever comes from outside, such as a file name, is escaped; nothing in it can steer a page.

    Parameters
    ----------
    template : str
        File name of a template.
    **shown : object
        What the template shows, by the names that it uses.

    Returns
    -------
    str

    Raises
    ------
    jinja2.UndefinedError
        The template uses a name that was not given.
    """
    return _surroundings().get_template(template).render(version=__version__, **shown)


@functools.cache
def _surroundings() -> jinja2.Environment:
    surroundings = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    surroundings.filters |= _FILTERS
    surroundings.globals["interval"] = _unbroken(wording.interval_text)
    return surroundings


def _source(name: str) -> str:
    here = importlib.resources.files(__package__)
    return here.joinpath(_TEMPLATES, name).read_text(encoding="utf-8")


def _unbroken(words: Callable[P, str]) -> Callable[P, Markup]:
    """Return a filter that keeps numbers and their percent signs on one line."""

    @functools.wraps(words)
    def unbroken(*args: P.args, **kwargs: P.kwargs) -> Markup:
        return Markup(escape(words(*args, **kwargs)).replace(" %", Markup("&nbsp;%")))

    return unbroken


def _shell(path: str) -> str:
    return shlex.quote(printable(path))


def _words(code: str) -> str:
    return code.replace("_", " ")


_FILTERS: dict[str, Callable[..., object]] = {
    "caution": caution_sentence,
    "cautions": caution_text,
    "comparison": _unbroken(wording.comparison_sentence),
    "count": wording.count_text,
    "file_name": wording.file_name,
    "frequency": wording.frequency_text,
    "moment": wording.moment_text,
    "percent": _unbroken(wording.percent_text),
    "person": wording.person_text,
    "prior": wording.prior_text,
    "sentence": wording.sentence,
    "shell": _shell,
    "strangers": wording.impostors_text,
    "verdict": wording.verdict_text,
    "words": _words,
}
