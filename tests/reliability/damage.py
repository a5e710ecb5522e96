"""Damage every file of an index in every way, and see whether it is found, named and mended.

``python -m tests.reliability.damage --seed 1 --cases 3000`` runs a campaign; a seed and a case
number are enough to see one case again (``--only``).

A case is *found* when `verify` reports it or the index refuses to open; *harmless* when every
row, embedding and answer is the same as before, as where bytes are hit that nothing reads; and
*missed* otherwise, which must never be.  Before `verify`, questions are asked: their answers must
be right, or be said to leave something out, or be refused.
"""

import argparse
import collections
import contextlib
import io
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from facesim_index.calibration.document import to_json
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees.verdicts import refresh_estimates
from facesim_index.errors import FacesimError, IndexDamagedError
from facesim_index.export.matrix_options import MatrixOptions
from facesim_index.index import FaceIndex
from facesim_index.people.edits import move_faces, name_person, set_people_apart
from facesim_index.people.grouping import PeopleOptions, cluster_people
from facesim_index.records import FaceId
from facesim_index.search.answers import QueryAnswer
from facesim_index.store.catalog import calibration_rows, face_rows, people_rows
from facesim_index.store.folder.mending import mend_engine, mend_log
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments import coarse
from facesim_index.upkeep.forgetting import forget
from facesim_index.upkeep.repairs import repair
from tests.asking import person_faces, verify
from tests.builders import FAKE, ingest, new_store, read_here
from tests.example_pictures import fake_photo
from tests.reliability.full_index import make_statistics

COARSE_ROWS = 64  # so that this small index has coarse codes too
ASKED = (1, 30, 77)
TOP = 5
_MAKE = "import sys; from tests.reliability.damage import make_index; make_index(*sys.argv[1:])"


@contextlib.contextmanager
def small_coarse_codes() -> Iterator[None]:
    """Let small segments have coarse codes for the length of the block."""
    before = coarse.COARSE_MIN_ROWS
    coarse.COARSE_MIN_ROWS = COARSE_ROWS
    try:
        yield
    finally:
        coarse.COARSE_MIN_ROWS = before


@dataclass(frozen=True, slots=True)
class Case:
    """One damage: what is done to which file of which of the indexes.

    Attributes
    ----------
    state : {"closed", "killed"}
        Whether the index was closed, or its writer killed.
    file : str
        Relative to the index.
    kind : {"removed", "emptied", "halved", "cut", "flipped", "zeroed", "swapped"}
    at : int
        Where, for what has a place.
    value : int
        What the byte is combined with by exclusive or, not 0.
    """

    state: str
    file: str
    kind: str
    at: int = 0
    value: int = 1

    def apply(self, folder: Path) -> bool:
        """Damage a copy of the index; tell whether that changed anything."""
        path = folder / self.file
        before = path.read_bytes()
        if self.kind == "removed":
            path.unlink()
            return True
        data = bytearray(before)
        if self.kind == "emptied":
            data = bytearray()
        elif self.kind == "halved":
            del data[len(data) // 2 :]
        elif self.kind == "cut":
            del data[-1:]
        elif self.kind == "flipped":
            data[self.at] ^= self.value
        elif self.kind == "zeroed":
            data[self.at : self.at + 512] = bytes(len(data[self.at : self.at + 512]))
        path.write_bytes(data)
        return bytes(data) != before


@dataclass(frozen=True, slots=True)
class Known:
    """What an index holds and answers when it is whole."""

    folder: Path
    snapshot: Path
    dump: dict[str, list[tuple[object, ...]]]
    content: dict[int, tuple[str, bytes]]
    answers: dict[int, list[tuple[object, ...]]]
    all_cosines: dict[int, dict[FaceId, float]]
    matrix: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    Attributes
    ----------
    verified : {"found", "harmless", "missed", "traceback"}
    asked : {"right", "partial", "refused", "wrong", "traceback"}
    mended : str
        ``as before``, ``with losses told``, ``up to the last whole commit``, ``by the
        snapshot`` or ``failed``; empty when it was not tried.
    told : str
        What verify, or whatever failed, said.
    """

    verified: str
    asked: str
    mended: str
    told: str

    @property
    def is_good(self) -> bool:
        """Whether every promise held."""
        return (
            self.verified in ("found", "harmless")
            and self.asked in ("right", "partial", "refused")
            and self.mended != "failed"
        )


class Grounds:
    """Two indexes of one content, whole: one closed, one whose writer was killed.

    Parameters
    ----------
    folder : Path
        Empty; everything is made in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photos = folder / "photos"
        for state in ("closed", "killed"):
            _make_photos(self.photos)
            subprocess.run(
                [sys.executable, "-c", _MAKE, str(folder / state), str(self.photos), state],
                check=state == "closed",
            )
        self.known = {state: self._know(state) for state in ("closed", "killed")}

    def files(self, state: str) -> list[str]:
        """Return the names of an index's files."""
        folder = self.known[state].folder
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def size_of(self, state: str, name: str) -> int:
        """Return how many bytes a file has."""
        return (self.known[state].folder / name).stat().st_size

    def run(self, case: Case, *, mend: bool) -> Outcome | None:
        """Do a case to a copy; None when it changed nothing."""
        known = self.known[case.state]
        folder = self.folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(known.folder, folder)
        if not case.apply(folder):
            return None
        asked, said = _ask(folder, known)
        verified, told = _verify(folder, known)
        mended = ""
        if mend and verified == "found":
            mended, why = _mend(folder, known)
            told = f"{told} / {why}" if mended == "failed" else told
        return Outcome(
            verified, asked, mended, told if asked not in ("wrong", "traceback") else said
        )

    def _know(self, state: str) -> Known:
        folder = self.folder / state
        twin = self.folder / f"{state}-twin"
        shutil.copytree(folder, twin)
        snapshot = self.folder / f"{state}-snapshot"
        with FolderStore(twin) as store:
            assert not verify(store).problems
        take_snapshot(twin, snapshot, copy=True)
        shutil.copyfile(twin / "SNAPSHOTS", folder / "SNAPSHOTS")
        with FaceIndex.open(twin, engine=FAKE) as index:
            answers = {face_id: _short(index.query(face_id=face_id, top=TOP)) for face_id in ASKED}
            everything = {
                face_id: {
                    match.face_id: match.cosine
                    for match in index.query(face_id=face_id, top=500).faces[0].matches
                }
                for face_id in ASKED
            }
            matrix = _matrix(index)
        with FolderStore(twin) as store:
            content = _content(store)
        return Known(folder, snapshot, _dump(twin), content, answers, everything, matrix)


def make_index(folder: str, photos: str, state: str) -> None:
    """Make an index of every kind of row; the process then ends, in one way or another."""
    with small_coarse_codes():
        store = new_store(Path(folder))
        ingest(store, Path(photos))
        with store.catalog.write() as transaction:
            calibration = _curve(store.identity.key)
            calibration_rows.put(transaction, "mine", store.identity.key, calibration)
            calibration_rows.activate(transaction, "mine")
        store.compact()
        _add_photos(Path(photos))
        ingest(store, Path(photos))
        forget(store, [], [FaceId(3), FaceId(80)])
        refresh_estimates(store)
        make_statistics(store)
        _make_people(store)
        if state == "killed":
            os._exit(9)
        store.close()


def _make_people(store: FolderStore) -> None:
    """Group the faces, and say something of every kind about them."""
    cluster_people(store, PeopleOptions(prior=0.01))
    name_person(store, 1, "Ada Lovelace")
    name_person(store, 1, "Ada")
    name_person(store, 2, "Bertha Benz")
    set_people_apart(store, "Ada", "Bertha Benz")
    _, faces = person_faces(store, 3)
    move_faces(store, [faces[0].face.face_id], None)


def _curve(engine_key: str) -> str:
    """Return a calibration for the fake engine, as JSON."""
    knots = ((-0.2, -4.0), (0.2, -1.0), (0.4, 3.0), (0.6, 4.0))
    evidence = Evidence("a test", 50, 200, 9000, "2024-02-29")
    return to_json(Calibration("mine", engine_key, "by hand", knots, evidence))


def _make_photos(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for n in range(40):
        colours = [(6 * n + 8, 40, 8), (8, 40, 6 * n + 8)]
        (folder / f"{n:02}.png").write_bytes(fake_photo(colours))
    (folder / "nobody.png").write_bytes(fake_photo([(9, 9, 9)], side_px=16))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")


def _add_photos(folder: Path) -> None:
    (folder / "copy of 01.png").write_bytes((folder / "01.png").read_bytes())
    for n in range(5):
        (folder / f"more {n}.png").write_bytes(fake_photo([(200, 50 * n + 3, 77)]))


def _short(answer: QueryAnswer) -> list[tuple[object, ...]]:
    return [
        (
            *(match.face_id, match.paths, match.box, match.landmarks.tobytes()),
            *(match.cosine, match.degree, match.log10_lr, answer.n_faces, answer.prior),
            *(match.person_id, match.person, match.person_degree),
        )
        for face in answer.faces
        for match in face.matches
    ]


def _matrix(index: FaceIndex) -> bytes:
    out = io.BytesIO()
    index.write_matrix(out, None, MatrixOptions(value="cosine"))
    return out.getvalue()


def _content(store: FolderStore) -> dict[int, tuple[str, bytes]]:
    with store.view() as view:
        ids = face_rows.face_ids(view.transaction)
        vectors = view.embeddings(ids)
        records = face_rows.faces(view.transaction, ids)
        whose = people_rows.whose(view.transaction, ids.tolist())
        names = {row.person_id: row.name for row in people_rows.persons(view.transaction)}
    return {
        record.face_id: (
            f"{record.paths} {record.box} {record.landmarks.tobytes()!r} "
            f"{whose.get(record.face_id)} {names.get(whose.get(record.face_id, 0))}",
            v.tobytes(),
        )
        for record, v in zip(records, vectors, strict=True)
    }


def _dump(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of the catalog but its own checks and counters."""
    with closing(sqlite3.connect(f"file:{folder}/catalog.sqlite3?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        names = [
            row[0].decode()
            for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: sorted(database.execute(f"SELECT rowid, * FROM {name}"), key=repr)
            for name in names
            if name not in ("row_check", "row_group", "sqlite_sequence")
        }


def _ask(folder: Path, known: Known) -> tuple[str, str]:
    """Ask what a user would; tell how good the answers are."""
    worst = "right"
    try:
        with FaceIndex.open(folder, engine=FAKE) as index:
            for face_id in ASKED:
                try:
                    answer = index.query(face_id=face_id, top=TOP)
                except FacesimError:
                    worst = "refused"
                    continue
                if answer.damaged_segments:
                    worst = "partial" if worst == "right" else worst
                    for match in answer.faces[0].matches:
                        if known.all_cosines[face_id].get(match.face_id) != match.cosine:
                            return "wrong", f"{match.face_id} at {match.cosine}"
                elif _short(answer) != known.answers[face_id]:
                    return "wrong", f"query of face {face_id}"
            try:
                if _matrix(index) != known.matrix:
                    return "wrong", "matrix"
            except FacesimError:
                worst = "refused" if worst == "right" else worst
    except FacesimError as error:
        return "refused", str(error)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    return worst, ""


def _verify(folder: Path, known: Known) -> tuple[str, str]:
    try:
        with FolderStore(folder) as store:
            problems = verify(store).problems
        if problems:
            return "found", f"{problems[0].what}: {problems[0].message}"
        if _dump(folder) != known.dump:
            return "missed", "a row has changed"
        with FolderStore(folder) as store:
            same = _content(store) == known.content
    except FacesimError as error:
        return "found", str(error)
    except Exception:
        return "traceback", traceback.format_exc()
    return ("harmless", "") if same else ("missed", "content has changed")


def _mend(folder: Path, known: Known) -> tuple[str, str]:
    """Do what the messages say, and see what it comes to."""
    try:
        try:
            shorter = mend_log(folder)
            mend_engine(folder)
            with FolderStore(folder, writable=True) as store:
                done = repair(store, verify(store), read_here)
        except IndexDamagedError as error:
            if "restore" not in str(error):
                return "failed", str(error)
            restore_snapshot(known.snapshot, folder, force=True)
            how = "by the snapshot"
        else:
            how = "as before"
            if done.rows_taken_out or done.faces_lost or done.lost_paths:
                how = "with losses told"
        with FolderStore(folder, writable=True) as store:
            problems = verify(store).problems
            if problems:
                return "failed", f"{how}, then {problems[0].what}: {problems[0].message}"
            content = _content(store)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    if content != known.content and how == "as before":
        if shorter is None:
            return "failed", "said to be mended, and is not as before"
        how = "up to the last whole commit"
    return how, ""


def whole_file_cases(grounds: Grounds) -> list[Case]:
    """Return each file removed, emptied, cut by half and by one byte."""
    return [
        Case(state, name, kind)
        for state in ("closed", "killed")
        for name in grounds.files(state)
        for kind in ("removed", "emptied", "halved", "cut")
        if kind == "removed" or grounds.size_of(state, name)
    ]


def flips(grounds: Grounds, seed: int, n: int) -> Iterator[Case]:
    """Yield random changes of bytes, each file as often as the others, then by its size."""
    chance = random.Random(seed)
    places = [
        (state, name, grounds.size_of(state, name))
        for state in ("closed", "killed")
        for name in grounds.files(state)
        if grounds.size_of(state, name) and not name.endswith("-shm")
    ]
    for number in range(n):
        if number % 2:
            state, name, size = places[number // 2 % len(places)]
        else:
            state, name, size = chance.choices(places, [place[2] for place in places])[0]
        at = chance.randrange(size)
        kind = "zeroed" if chance.random() < 0.05 else "flipped"
        value = 1 << chance.randrange(8) if chance.random() < 0.5 else chance.randrange(1, 256)
        yield Case(state, name, kind, at, value)


def main() -> int:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=1000, help="changes of bytes to try")
    parser.add_argument("--only", type=int, help="run this number alone")
    parser.add_argument("--mend-every", type=int, default=3, help="mend every so many cases")
    options = parser.parse_args()
    logging.getLogger("facesim_index").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory(prefix="facesim-damage-") as folder, small_coarse_codes():
        grounds = Grounds(Path(folder))
        cases = [*whole_file_cases(grounds), *flips(grounds, options.seed, options.cases)]
        figures: collections.Counter[tuple[str, str]] = collections.Counter()
        bad = 0
        for number, case in enumerate(cases):
            if options.only is not None and number != options.only:
                continue
            outcome = grounds.run(case, mend=number % options.mend_every == 0)
            if outcome is None:
                figures["cases", "that change nothing"] += 1
                continue
            figures["verify", outcome.verified] += 1
            figures["questions", outcome.asked] += 1
            if outcome.mended:
                figures["repair", outcome.mended] += 1
            if not outcome.is_good or options.only is not None:
                bad += not outcome.is_good
                print(f"--seed {options.seed} --only {number}: {case} {outcome}", flush=True)
        harmful = sum(figures["verify", word] for word in ("found", "missed", "traceback"))
        print(f"seed {options.seed}: found/total {figures['verify', 'found']}/{harmful}")
        for (what, word), count in sorted(figures.items()):
            print(f"  {what:<10} {word:<28} {count}")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
