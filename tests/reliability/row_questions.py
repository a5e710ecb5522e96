"""Everything that can be asked of an index, and done to it, with texts for answers.

Texts can be compared: those of a damaged index with those of a whole one.
"""

import contextlib
import io
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from facesim_index.config import CATALOG_NAME
from facesim_index.degrees.gallery import refresh_gallery_prior
from facesim_index.errors import FacesimError
from facesim_index.index import FaceIndex
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.opening import open_store
from tests.builders import FAKE, ingest
from tests.coloured_people import facesim
from tests.reliability.full_index import ROOTS
from tests.web.serving import app_of, client_of


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question was answered with.

    Attributes
    ----------
    text : str
    failed : bool
        An error was told instead, or the exit code was not 0.
    said : str
        Errors and warnings.
    rows : dict of str to str
        After a change: what is in the index, by table and number of the row.
    """

    text: str
    failed: bool = False
    said: str = ""
    rows: dict[str, str] = field(default_factory=dict)

    @property
    def tells_damage(self) -> bool:
        """Whether it says that the index is damaged, and what to do."""
        mends = "verify --repair" in self.said or "restore" in self.said
        return "damaged" in self.said and mends


@dataclass(frozen=True, slots=True)
class Place:
    """An index and what it was made of.

    Attributes
    ----------
    index : Path
    photos : Path
    out : Path
        An empty folder, for what commands write.
    """

    index: Path
    photos: Path
    out: Path


Ask = Callable[[Place], Answer]


def _command(*words: str) -> Ask:
    """Return the question that a command line asks; PHOTOS and OUT stand for folders."""

    def ask(place: Place) -> Answer:
        folders = {"PHOTOS": str(place.photos), "OUT": str(place.out)}
        typed = [word.format(**folders) for word in words]
        with contextlib.chdir(place.out):  # where a command might keep something
            result = facesim(place.index, *typed)
        return Answer(result.stdout + _files(place.out), result.exit_code != 0, result.stderr)

    return ask


def _files(folder: Path) -> str:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{path.name}: {path.read_text(encoding='utf-8')}" for path in found)


def _method(ask: Callable[[FaceIndex, Place], object]) -> Ask:
    """Return a question that is asked of a `FaceIndex`."""

    def asked(place: Place) -> Answer:
        with _heard() as said:
            try:
                with FaceIndex.open(place.index, engine=FAKE) as index:
                    return Answer(_text(ask(index, place)), False, said.getvalue())
            except FacesimError as error:
                return Answer("", True, f"{said.getvalue()}{type(error).__name__}: {error}")

    return asked


@contextlib.contextmanager
def _heard() -> Iterator[io.StringIO]:
    """Listen to what is logged."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("facesim_index")
    logger.handlers[:] = [handler]
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _text(answer: object) -> str:
    if isinstance(answer, np.ndarray):
        return repr(answer.tolist())
    if isinstance(answer, Iterator):
        return repr(list(answer))
    return repr(answer)


ROUTES = (
    *("/v1/status", "/v1/people?ignored=true", "/v1/people?named=true&limit=2"),
    *("/v1/people/1", "/v1/people/1/faces", "/v1/people/2/matches", "/v1/people/review"),
    *("/v1/faces/3", "/v1/faces/3/matches", "/v1/faces/3/crop", "/v1/images/2", "/v1/errors"),
    *("/v1/images/2/picture", "/v1/calibration"),
)


def ask_routes(place: Place) -> dict[str, Answer]:
    """Ask everything that the server answers."""
    upload = (place.photos / "album/1.png").read_bytes()
    with client_of(app_of(place.index)) as client:
        found = {f"GET {path}": client.get(path) for path in ROUTES}
        picture = {"picture": ("me.png", upload, "image/png")}
        found["POST /v1/query"] = client.post("/v1/query", files=picture)
    answers = {}
    for name, response in found.items():
        kind = response.headers.get("content-type", "")
        document = response.json() if kind.endswith("json") else {}
        said = str(document.get("detail")) if document.get("code") == "index_damaged" else ""
        said += "".join(map(str, document.get("damage") or ()))
        answers[name] = Answer(response.text, response.status_code >= 400, said)
    return answers


def _matrix(index: FaceIndex, _place: Place) -> bytes:
    out = io.BytesIO()
    index.write_matrix(out)
    return out.getvalue()


JSON = ("--format", "json")

COMMANDS: dict[str, Ask] = {
    "query": _command("query", "{PHOTOS}/query.png", *JSON),
    "query known": _command("query", "{PHOTOS}/album/1.png", "--top", "30", *JSON),
    "query others": _command("query", "{PHOTOS}/album/1.png", "--exclude-same-image", *JSON),
    "query face": _command("query", "--face-id", "4", *JSON),
    "query person": _command("query", "--person", "Ada", *JSON),
    "people list": _command("people", "list", "--all", *JSON),
    "people show": _command("people", "show", "Bo", *JSON),
    "people show unnamed": _command("people", "show", "4"),
    "people review": _command("people", "review", *JSON),
    "export faces": _command("export", "faces", "-"),
    "export faces under": _command("export", "faces", "-", "--under", "{PHOTOS}/album"),
    "export faces of a file": _command("export", "faces", "-", "--under", "{PHOTOS}/single.png"),
    "export matrix": _command("export", "matrix", "-"),
    "export matches": _command("export", "matches", "-", "--min-degree", "0.5"),
    "export people": _command("export", "people", "-", "--all"),
    "export sidecars": _command("export", "sidecars", "{OUT}/names"),
    "calibrate list": _command("calibrate", "list", "--json"),
    "calibrate show": _command("calibrate", "show"),
    "calibrate export": _command("calibrate", "export", "older", "-"),
    "calibrate check": _command("calibrate", "check"),
    "status": _command("status", "--json"),
    "errors": _command("errors", *JSON),
    "audit": _command("audit", *JSON),
    "ingest --dry-run": _command(
        "ingest", *(f"{{PHOTOS}}/{name}" for name in ROOTS), "--dry-run", "--json"
    ),
    "ingest --dry-run --retry-errors": _command(
        *("ingest", *(f"{{PHOTOS}}/{name}" for name in ROOTS)),
        *("--dry-run", "--json", "--retry-errors", "--prune"),
    ),
    "forget --match": _command(
        "forget", "--match", "{PHOTOS}/query.png", "--min-degree", "0.5", "--dry-run"
    ),
    "evaluate": _command("evaluate", "--people", "{PHOTOS}/people", *JSON),
}

METHODS: dict[str, Ask] = {
    f"FaceIndex.{name}": ask
    for name, ask in {
        "face_ids": _method(lambda index, _: index.face_ids()),
        "face_ids under": _method(lambda index, at: index.face_ids(under=at.photos / "album/trip")),
        "faces": _method(lambda index, _: index.faces().to_csv()),
        "picture_faces": _method(
            lambda index, at: [
                index.picture_faces([at.photos / name])
                for name in ("album/1.png", "album/gone.png", "other/copy of 1.png", "none.png")
            ]
        ),
        "embeddings": _method(lambda index, _: index.embeddings(np.array([1, 5])).tobytes()),
        "matrix": _method(_matrix),
        "find_person": _method(
            lambda index, at: index.find_person(at.photos / "query.png", min_degree=0.4)
        ),
        "prior": _method(lambda index, _: index.prior()),
        "calibration": _method(lambda index, _: index.calibration()),
        "errors": _method(lambda index, _: index.errors()),
        "audit": _method(lambda index, _: index.audit()),
        "check_face_ids": _method(lambda index, _: index.check_face_ids([1, 5, 9])),
        "people.table": _method(lambda index, _: index.people.table()),
    }.items()
}


def _done(ask: Ask) -> Ask:
    """Return a question that changes the index: what is in it afterwards belongs to the answer."""

    def asked(place: Place) -> Answer:
        return replace(ask(place), rows=rows_of(place.index))

    return asked


def _ingest(**options: object) -> Ask:
    def ask(place: Place) -> Answer:
        with _heard() as said:
            try:
                with open_store(place.index, writable=True) as store:
                    summary = ingest(store, *(place.photos / name for name in ROOTS), **options)
                    refresh_gallery_prior(store)
            except FacesimError as error:
                return Answer("", True, f"{said.getvalue()}{type(error).__name__}: {error}")
        counted = {
            name: getattr(summary, name)
            for name in summary.__slots__
            if name not in ("elapsed_s", "images_per_s")
        }
        return Answer(json.dumps(counted), False, said.getvalue())

    return ask


CHANGES: dict[str, Ask] = {
    name: _done(ask)
    for name, ask in {
        "ingest": _ingest(),
        "ingest --prune": _ingest(prune=True),
        "ingest --checksum --retry-errors": _ingest(checksum=True, retry_errors=True),
        "people cluster": _command("people", "cluster", "--json"),
        "people cluster --full": _command("people", "cluster", "--full", "--json"),
        "people name": _command("people", "name", "4", "Dan"),
        "people merge": _command("people", "merge", "Ada", "6"),
        "people split": _command("people", "split", "Bo", "3"),
        "people move": _command("people", "move", "3", "--to", "Ada"),
        "people apart": _command("people", "apart", "Ada", "4"),
        "people ignore": _command("people", "ignore", "Bo"),
        "people undo": _command("people", "undo"),
        "people confirm": _method(
            lambda index, at: index.people.confirm_folder(at.photos / "people")
        ),
        "people keep": _method(lambda index, _: index.people.keep([3, 4])),
        "calibrate use": _command("calibrate", "use", "older"),
        "calibrate drop": _command("calibrate", "drop", "mine"),
        "forget a file": _command("forget", "{PHOTOS}/album/copy of 1.png"),
        "forget a folder": _command("forget", "{PHOTOS}/album/trip"),
        "forget a face": _command("forget", "--face-id", "24"),
        "forget --secure": _command("forget", "{PHOTOS}/album/1.png", "--secure"),
        "forget a person": _command(
            *("forget", "--match", "{PHOTOS}/query.png", "--min-degree", "0.5", "--yes"),
        ),
        "compact": _command("compact"),
    }.items()
}

_CHECKS = ("row_check", "row_group", "sqlite_sequence")
_TIMES = (
    *("at", "created_at", "deleted_at", "finished_at", "last_ingest_at", "made_at"),
    *("missing_since", "started_at", "summary"),
)


def rows_of(index: Path) -> dict[str, str]:
    """Return every row of an index but for times, by table and number."""
    rows = {}
    with closing(sqlite3.connect(f"file:{index / CATALOG_NAME}?mode=ro", uri=True)) as database:
        database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table in _CHECKS:
                continue
            cursor = database.execute(f"SELECT rowid, * FROM {table}")
            names = [column[0] for column in cursor.description]
            for row in cursor:
                cells = zip(names[1:], row[1:], strict=True)
                shown = [(value is None) if name in _TIMES else value for name, value in cells]
                rows[f"{table} {row[0]}"] = repr(shown)
    return rows


def is_whole(index: Path) -> bool:
    """Tell whether `verify` finds nothing."""
    try:
        with FolderStore(index) as store:
            return not store.check().problems
    except FacesimError:
        return False
