"""The implementations of `IndexStore` that the suite is run against.

A new one registers itself here, and nothing else changes: the suite knows the protocols alone.
"""

from collections.abc import Callable
from pathlib import Path

#: By its name, what gives a new address for an index that does not exist yet; the folder is empty
#: and for this address alone.
IMPLEMENTATIONS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda empty: empty / "index.facesim",
}
