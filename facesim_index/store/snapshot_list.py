"""Which snapshots were taken of an index, kept beside its catalog, for when that is damaged."""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from facesim_index.utils.files import atomic_output, read_regular

LIST_NAME = "SNAPSHOTS"
MANIFEST_NAME = "SNAPSHOT"
"""What tells a snapshot's folder from that of an index; see `snapshots`."""

_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """A snapshot that was taken.

    Attributes
    ----------
    path : str
        Absolute.
    created_at : str
        ISO 8601, UTC.
    generation : int
    """

    path: str
    created_at: str
    generation: int


def known_snapshots(folder: Path) -> list[KnownSnapshot]:
    """Return the snapshots taken of an index in the order in which they were taken.

    That is the order of the lines, whatever the clock said; lines that are damaged are left out.
    """
    try:
        text = read_regular(folder / LIST_NAME, _MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            entry = KnownSnapshot(**json.loads(line))
            found.append(
                KnownSnapshot(str(entry.path), str(entry.created_at), int(entry.generation))
            )
        except (ValueError, TypeError):
            continue
    return found


def remember_snapshot(folder: Path, snapshot: KnownSnapshot) -> None:
    """Add a snapshot to the list of an index, and leave out those that are not there any more.

    Raises
    ------
    StorageError
        The list cannot be written.
    """
    kept = [known for known in known_snapshots(folder) if _is_there(known)]
    with atomic_output(folder / LIST_NAME, private=True) as out:
        for known in (*kept, snapshot):
            out.write(json.dumps(asdict(known)).encode("ascii") + b"\n")


def newest_snapshot(folder: Path) -> KnownSnapshot | None:
    """Return the snapshot of an index that was taken last, of those that are still there."""
    there = [known for known in known_snapshots(folder) if _is_there(known)]
    return there[-1] if there else None


def advice(folder: Path) -> str:
    """Say what to do with an index whose catalog cannot be used."""
    newest = newest_snapshot(folder)
    if newest is None:
        return "restore the index from a copy, or ingest into a new one; no snapshot is known"
    return (
        f"its newest snapshot is {newest.path} of {newest.created_at}; "
        f"`facesim --index {shlex.quote(str(folder))} restore {shlex.quote(newest.path)} --force` "
        "puts it in place"
    )


def _is_there(known: KnownSnapshot) -> bool:
    try:
        return (Path(known.path) / MANIFEST_NAME).is_file()
    except (OSError, ValueError):
        return False
