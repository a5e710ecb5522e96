"""The whole job in one process and its workers: run by the tests of promise 9, never imported.

    python whole_job.py FOLDER

With the real weights: ingest, query, compare, export, forget, compact, verify; with the fake
engine, which needs no photo collection: calibrate and evaluate.  Not among them is ``doctor``: it
imports insightface to see whether that works, and a library of that binds a socket to ::1, which
sends nothing, to learn whether there is IPv6.
"""

import sys
from pathlib import Path

from click.testing import CliRunner

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from tests.builders import FAKE
from tests.example_pictures import demo_picture, fake_photo


def real(folder: Path) -> list[list[str]]:
    """Return the commands of an index of real faces."""
    portrait = str(demo_picture("yaoming.jpg"))
    index = ["--index", str(folder / "real.facesim")]
    return [
        [*index, "ingest", str(folder / "photos"), "--workers", "2"],
        [*index, "query", portrait, "--top", "3", "--sheet", str(folder / "sheet.png")],
        [*index, "compare", portrait, str(folder / "photos" / "astronaut.png")],
        [*index, "export", "matrix", str(folder / "matrix.csv")],
        [*index, "export", "faces", str(folder / "faces.csv")],
        [*index, "export", "matches", str(folder / "matches.csv"), "--min-degree", "0.5"],
        [*index, *("forget", "--match", portrait, "--min-degree", "0.9", "--yes", "--secure")],
        [*index, "compact"],
        [*index, "verify"],
        [*index, "status"],
        [*index, "audit"],
        [*index, "errors"],
        ["models", "list"],
    ]


def fake(folder: Path) -> list[list[str]]:
    """Return the commands that need labels."""
    index = ["--index", str(folder / "fake.facesim")]
    people = str(folder / "people")
    lines = ["12", *(f"p{n:02d}\t1\t2" for n in range(12))]
    lines += [f"p{n:02d}\t1\tp{n + 1:02d}\t2" for n in range(12)]
    (folder / "pairs.txt").write_text("\n".join(lines))
    report = ("--report", str(folder / "report"))
    return [
        [*index, "ingest", people, "--workers", "1"],
        [*index, "calibrate", "--people", people, "--name", "own", "--method", "logistic"],
        [*index, "calibrate", "check"],
        [*index, "people", "cluster", "--prior", "0.05"],
        [*index, "people", "name", "1", "Ann"],
        [*index, "query", "--person", "Ann"],
        [*index, "people", "review"],
        [*index, "export", "people", str(folder / "people.csv")],
        [*index, "export", "sidecars", str(folder / "sidecars")],
        [*index, "evaluate", str(folder / "pairs.txt"), "--images", people, *report],
    ]


def make_pictures(folder: Path) -> None:
    """Put real faces into photos/ and made ones into people/."""
    (folder / "photos").mkdir()
    for name in ("gdp.jpg", "yaoming.jpg", "astronaut.png"):
        (folder / "photos" / name).write_bytes(demo_picture(name).read_bytes())
    for person in range(24):
        home = folder / "people" / f"p{person:02d}"
        home.mkdir(parents=True)
        for number in range(3):
            colour = (8 + 16 * (person % 8), 24 + 16 * (person // 8) + number, 200)
            (home / f"{home.name}_{number + 1:04d}.png").write_bytes(fake_photo([colour]))


def run(folder: Path) -> None:
    """Run every command; the first that fails ends it."""
    make_pictures(folder)
    jobs = [(words, State()) for words in real(folder)]
    jobs += [(words, State(engine=FAKE)) for words in fake(folder)]
    for words, state in jobs:
        result = CliRunner().invoke(main, words, obj=state, catch_exceptions=False)
        sys.stdout.write(f"{result.exit_code} {' '.join(words)}\n{result.stdout}{result.stderr}\n")
        if result.exit_code != 0:
            sys.exit(1)
    sys.stdout.write("all done\n")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
