"""Ingest thousands of damaged pictures, and say what came of them.

::

    python -m tests.reliability.fuzz --seed 1 --inputs 10000
    python -m tests.reliability.fuzz --seed 1 --only 4711

Exits 1 when a worker died, was too slow or met an exception that is not ours; each such input is
kept in the folder of --keep and named by its number.  With FACESIM_TEST_DATA small real photos
are damaged, too (`--photos`).
"""

# ruff: noqa: T201 - it talks to a terminal

import argparse
import os
import sys
from pathlib import Path

from tests.reliability.campaign import Outcomes, digest, run
from tests.reliability.mutations import mutated, seed_pictures

_MOST_PHOTO_BYTES = 300_000


def main() -> None:
    """Run the campaign that the command line asks for."""
    options = _options()
    pictures = seed_pictures() | (_real_photos() if options.photos else {})
    print(
        f"seed {options.seed}, {len(pictures)} pictures to damage (digest {digest(pictures)})",
        flush=True,
    )
    numbers = range(options.first, options.first + options.inputs)
    if options.only is not None:
        numbers = range(options.only, options.only + 1)

    def tell(outcomes: Outcomes, done: int) -> None:
        print(f"{done} inputs: {_counted(outcomes.total)}", flush=True)

    outcomes = run(
        numbers,
        lambda number: mutated(options.seed, number, pictures),
        on_slice=tell,
        timeout_s=options.timeout,
    )
    print()
    for suffix, counts in sorted(outcomes.by_format.items()):
        print(f"{suffix:<5} {sum(counts.values()):>6}  {_counted(counts)}")
    for name, code, message in outcomes.alarming:
        number = int(name.split("-")[0])
        print(f"{code}: input {number} of seed {options.seed} ({name}): {message}")
    wanted = [name for name, _, _ in outcomes.alarming]
    if options.only is not None:
        wanted = [f"{options.only:08d}-{mutated(options.seed, options.only, pictures)[0]}"]
    for name in wanted:
        options.keep.mkdir(parents=True, exist_ok=True)
        data = mutated(options.seed, int(name.split("-")[0]), pictures)[1]
        (options.keep / f"seed{options.seed}-{name}").write_bytes(data)
        print(f"kept {options.keep / f'seed{options.seed}-{name}'}")
    sys.exit(1 if outcomes.alarming else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", type=int, help="replay the one input of this number")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds for one picture")
    parser.add_argument("--photos", action="store_true", help="damage real photos, too")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    return parser.parse_args()


def _real_photos() -> dict[str, bytes]:
    folder = Path(os.environ["FACESIM_TEST_DATA"]) / "photos"
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".jpg", ".png")]
    small = [path for path in paths if path.stat().st_size <= _MOST_PHOTO_BYTES]
    return {f"photo{n}{path.suffix}": path.read_bytes() for n, path in enumerate(small[:30])}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts))


if __name__ == "__main__":
    main()
