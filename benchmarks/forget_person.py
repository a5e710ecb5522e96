"""How many of a person's pictures ``forget --match`` finds, and whose else; and what it costs.

    python benchmarks/forget_person.py INDEX [--people 50]

The index holds labelled pictures, one folder a person, as LFW.  For each of the people with
most pictures the first picture is the IMAGE.  The index itself is not changed: what is
forgotten is forgotten in a copy.
"""

import argparse
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from facesim_index import FaceIndex
from facesim_index.labels.embeddings import central_face
from facesim_index.search.answers import Match

DEGREES = (0.5, 0.9, 0.99)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--people", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy.facesim"
        shutil.copytree(options.index, copy)
        with FaceIndex.open(copy) as index:
            measure(index, options.people)


def measure(index: FaceIndex, n_people: int) -> None:
    """Print how completely people are found, and how long it takes to forget one."""
    pictures: dict[str, set[str]] = defaultdict(set)
    for record in index.face_records():
        pictures[Path(record.path).parent.name].add(record.path)
    people = sorted(pictures, key=lambda name: (-len(pictures[name]), name))[:n_people]
    n_pictures = sum(len(pictures[name]) for name in people)
    found: Counter[float] = Counter()
    others: Counter[float] = Counter()
    first: tuple[Match, ...] = ()
    searching_s = 0.0
    for name in people:
        started = time.perf_counter()
        matches = find(index, Path(min(pictures[name])))
        searching_s += time.perf_counter() - started
        first = first or tuple(match for match in matches if (match.degree or 0) >= 0.9)
        for degree in DEGREES:
            paths = {match.path for match in matches if (match.degree or 0) >= degree}
            found[degree] += len(paths & pictures[name])
            others[degree] += len(paths - pictures[name])
    n_faces = index.status().counts["faces"]
    print(f"{len(people)} people with {n_pictures} pictures, among {n_faces} faces")
    print("least degree  of their pictures found  pictures under other names")
    for degree in DEGREES:
        share = found[degree] / n_pictures
        print(f"{degree:<12g}  {found[degree]} ({share:.1%})             {others[degree]}")
    print(f"to find one person: {searching_s / len(people):.2f} s, the engine's loading included")
    forget(index, first)


def find(index: FaceIndex, path: Path) -> tuple[Match, ...]:
    """Return every appearance of the person that a labelled picture is about."""
    [faces] = index.picture_faces([path])
    assert faces is not None
    number = central_face(faces.faces, faces.width_px, faces.height_px)
    return index.find_person(path, min_degree=min(DEGREES), face=number).matches


def forget(index: FaceIndex, matches: Sequence[Match]) -> None:
    """Forget half of the faces of a person plainly and half securely, and print the times."""
    ids = [match.face_id for match in matches]
    for secure, part in ((False, ids[::2]), (True, ids[1::2])):
        started = time.perf_counter()
        done = index.forget(face_ids=part, secure=secure)
        elapsed_s = time.perf_counter() - started
        print(f"to forget {done.faces} faces{' securely' if secure else ''}: {elapsed_s:.2f} s")


if __name__ == "__main__":
    main()
