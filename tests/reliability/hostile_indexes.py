"""Indexes of somebody who means harm, and every command of the command line that meets them."""

import logging
import os
import shutil
import signal
import stat
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.people import edits
from facesim_index.people.grouping import cluster_people
from facesim_index.store.folder.snapshots import take_snapshot
from facesim_index.store.folder.store import FolderStore
from tests.builders import FAKE, ingest, new_store, read_here
from tests.coloured_people import CURVE, put_curve
from tests.reliability.scenarios import make_photos, make_small

SECRET = "SENTINEL-7f3a9"
PATIENCE_S = 600
N_PHOTOS = 16

#: Every name of an index: files, then folders.
FILES = (
    *("catalog.sqlite3", "catalog.sqlite3-wal", "catalog.sqlite3-shm", "catalog.sqlite3-journal"),
    *("catalog.sqlite3-wal.damaged", "LOCK", "LOCK.holder", "SNAPSHOTS", "SNAPSHOT"),
)
IN_SEGMENTS = ("segments/000001.faiss", "segments/000001.coarse")
KINDS = ("link", "link to a folder", "link to nothing", "fifo", "other")

Record = dict[str, tuple[object, ...]]


class World:
    """What a case may use: an index, a snapshot, pictures, and a tree that is nobody's business.

    Attributes
    ----------
    folder, index, snapshot, photos, outside, out : Path
        `snapshot` is one of the index before it became hostile.
    """

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder = folder
        self.index = folder / "i.facesim"
        self.snapshot = folder / "s"
        self.outside = folder / "outside"
        self.out = folder / "out"
        self.photos = template / "people" / "photos"
        self._template = template

    def reset(self, spoil: Callable[["World"], None]) -> None:
        """Make everything anew that a command may have changed, and the index hostile."""
        for name in ("s", "outside"):
            if not (self.folder / name).exists():
                shutil.copytree(self._template / name, self.folder / name)
        for path in self.folder.iterdir():
            if path not in (self.snapshot, self.outside):
                shutil.rmtree(path)
        shutil.copytree(self._template / "i.facesim", self.index)
        self.out.mkdir()
        spoil(self)

    def outside_record(self) -> Record:
        """Return all there is to know of the tree outside."""
        return {str(path): _record(path) for path in (self.outside, *self.outside.rglob("*"))}

    def secrets_elsewhere(self) -> list[Path]:
        """Return the files, but for those outside, that hold what is secret."""
        return [
            path
            for path in self.folder.rglob("*")
            if stat.S_ISREG(path.lstat().st_mode)
            and not path.is_relative_to(self.outside)
            and SECRET.encode() in path.read_bytes()
        ]


def _record(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else None
    return (found.st_mode, found.st_mtime_ns, found.st_nlink, found.st_ino, content)


def make_template(folder: Path) -> Path:
    """Make the index, its snapshot, the pictures and the tree outside, to be copied."""
    make_small()
    folder = folder.resolve()
    make_photos(folder / "people" / "photos", N_PHOTOS)
    with new_store(folder / "i.facesim") as store:
        ingest(store, folder / "people" / "photos")
        store.compact()
        put_curve(store)
        cluster_people(store)
        for person_id in (1, 2):
            edits.name_person(store, person_id, f"Person {person_id}")
    take_snapshot(folder / "i.facesim", folder / "s", copy=True)
    shutil.copytree(folder / "i.facesim", folder / "outside")
    with FolderStore(folder / "outside", writable=True) as store:
        edits.name_person(store, 1, SECRET)
    (folder / "outside" / "secret.txt").write_text(SECRET)
    (folder / "outside" / "SNAPSHOTS").write_text(SECRET)
    (folder / "outside" / "LOCK.holder").write_text(SECRET)
    for path in (folder / "outside", *(folder / "outside").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def put_in_place(world: World, name: str, kind: str) -> None:
    """Let something else be at a name of the index."""
    path, other = world.index / name, world.outside / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(other if other.exists() else world.outside / "secret.txt")
    elif kind == "link to a folder":
        path.symlink_to(world.outside / "segments")
    elif kind == "link to nothing":
        path.symlink_to(world.outside / "new")
    elif kind == "fifo":
        os.mkfifo(path)
    elif name == "segments":
        path.write_text("no folder")
    else:
        path.mkdir()
        (path / "inner").write_text("kept")


def change_rows(world: World, statement: str, *values: object) -> None:
    """Change the catalog as its owner can, checksums included."""
    with FolderStore(world.index, writable=True) as store, store.catalog.write() as transaction:
        transaction.exec_driver_sql(statement, values)


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command below a group, as it is typed."""
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from leaves(inner, (*words, name))
    else:
        yield " ".join(words)


def command_lines(world: World) -> dict[str, list[list[object]]]:
    """Return how each command is called on the hostile index; some in several ways."""
    out, photo = world.out, world.photos / "001.png"
    labels = world.photos.parent
    return {
        "audit": [[]],
        "calibrate check": [["--people", labels, "--cache", world.index]],
        "calibrate drop": [[CURVE.name]],
        "calibrate export": [[CURVE.name, out / "curve.json"]],
        "calibrate import": [[out / "own.json"]],
        "calibrate list": [[]],
        "calibrate show": [[]],
        "calibrate use": [[CURVE.name]],
        "compact": [[]],
        "compare": [[photo, photo]],
        "doctor": [[]],
        "errors": [[]],
        "evaluate": [["--people", labels, "--cache-index", world.index]],
        "export faces": [[out / "faces.csv"]],
        "export matches": [[out / "matches.csv", "--min-degree", "0.5"]],
        "export matrix": [[out / "matrix.csv"]],
        "export people": [[out / "people.csv"]],
        "export sidecars": [[out / "sidecars"], ["--beside"]],
        "forget": [
            [photo],
            [photo, "--secure"],
            ["--match", photo, "--min-degree", "0.9", "--yes"],
        ],
        "ingest": [[world.photos], [world.photos, "--prune", "--checksum"], ["--dry-run", out]],
        "models install": [[out]],
        "models list": [[]],
        "models verify": [["nowhere"]],
        "people apart": [["1", "2"]],
        "people cluster": [["--full"]],
        "people ignore": [["1"]],
        "people list": [[], ["--format", "json"]],
        "people merge": [["1", "2"]],
        "people move": [["2", "--to", "1"]],
        "people name": [["1", "Ann"]],
        "people review": [[]],
        "people show": [["1"]],
        "people split": [["1", "1"]],
        "people undo": [[]],
        "query": [[photo, "--sheet", out / "q.png"], ["--face-id", "1"], ["--person", "1"]],
        "restore": [[world.snapshot], [world.snapshot, "--force"]],
        "serve": [["--edit"]],
        "snapshot": [[out / "snap"], [out / "snap", "--copy"]],
        "status": [[]],
        "verify": [[], ["--repair"]],
    }


def run(world: World, name: str, words: list[object]) -> tuple[int, str]:
    """Run a command on the hostile index; return its exit code and all that it told."""
    line = ["--index", str(world.index), *name.split(), *(str(word) for word in words)]
    ended = CliRunner().invoke(main, line, obj=State(engine=FAKE))
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        trace = "".join(traceback.format_exception(ended.exception))
        raise AssertionError(f"{' '.join(line)}: {trace}")
    return ended.exit_code, ended.stdout + ended.stderr


def fit_for_tests() -> None:
    """Let commands of this process, a child made for it, start no workers and no server."""
    import facesim_index.index as by_index
    import facesim_index.session.upkeep as by_upkeep
    import facesim_index.web.server as server

    for module in (by_index, by_upkeep):
        setattr(module, "read_all", lambda *given: read_here(given[-1]))  # noqa: B010
    setattr(server, "serve", _look_at_pages)  # noqa: B010


def _look_at_pages(folder: Path, *, edit: bool, **_: object) -> None:
    """Stand for the server: ask it everything that needs no number, without a socket."""
    from tests.web.serving import app_of, client_of

    app = app_of(folder, edit=edit)
    with client_of(app) as client:
        for route in app.routes:
            path = getattr(route, "path", "")
            if "GET" in (getattr(route, "methods", None) or ()) and "{" not in path:
                answer = client.get(path)
                click.echo(answer.text if "text" in answer.headers.get("content-type", "") else "")


def in_time(work: Callable[[], object]) -> str:
    """Do something in a child; return what was wrong, also when it takes too long."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        wrong = ""
        try:
            os.close(source)
            logging.disable(logging.NOTSET)
            work()
        except BaseException:
            wrong = traceback.format_exc()
        os.write(sink, wrong[-4000:].encode("utf-8", "replace"))
        os._exit(0)
    os.close(sink)
    end = time.monotonic() + PATIENCE_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(source)
            return "it hangs"
        time.sleep(0.01)
    with os.fdopen(source, "rb") as stream:
        return stream.read().decode()
