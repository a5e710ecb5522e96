"""Batch face-similarity indexing and search, with calibrated degrees of similarity.

>>> from facesim_index import FaceIndex
>>> with FaceIndex.open("holiday.facesim", create=True) as index:  # doctest: +SKIP
...     index.ingest(["~/Pictures"])
...     answer = index.query("me.jpg")
"""

from typing import TYPE_CHECKING

from facesim_index.version import __version__

__all__ = ["FaceIndex", "FacesimError", "__version__", "compare"]

if TYPE_CHECKING:
    from facesim_index.errors import FacesimError
    from facesim_index.index import FaceIndex
    from facesim_index.search.comparison import compare

_HOMES = {
    "FaceIndex": "facesim_index.index",
    "compare": "facesim_index.search.comparison",
    "FacesimError": "facesim_index.errors",
}


def __getattr__(name: str) -> object:
    """Import the public names when they are first used, so that importing us stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
