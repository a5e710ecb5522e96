"""Long work in a process of its own, so that pages stay quick: the child's side of `jobs`.

The parent writes one line of JSON with the orders to our standard input and keeps it open; when it
is closed, this process ends.  We write a line of JSON for each progress report, and one for the
result.
"""

import json
import os
import sys
import threading
from pathlib import Path

from facesim_index.errors import FacesimError
from facesim_index.export.documents import grouping_document
from facesim_index.people.grouping import PeopleOptions, cluster_people
from facesim_index.store.opening import open_store
from facesim_index.utils.progress import ProgressUpdate

_NICENESS = 10


def main() -> None:
    """Do what the parent orders, and end the process."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    orders = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _tell({"result": _cluster(Path(orders["folder"]), full=bool(orders["full"]))})
    except FacesimError as error:
        _tell({"error": type(error).__name__, "message": str(error)})
    sys.stdout.flush()
    os._exit(0)


def _cluster(folder: Path, *, full: bool) -> dict[str, object]:
    with open_store(folder, writable=True) as store:
        return grouping_document(
            cluster_people(store, PeopleOptions(full=full), progress=_tell_progress)
        )


def _tell_progress(update: ProgressUpdate) -> None:
    _tell({"stage": update.stage, "done": update.done, "total": update.total})


def _tell(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)
