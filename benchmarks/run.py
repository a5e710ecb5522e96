"""Run benchmarks by name.

    python -m benchmarks.run ingest search --data DATA_FOLDER

Each prints its figures beside a peer's, run in turn in the same process, and adds them to a
dated file.  ``--quick`` takes less data and fewer rounds.
"""

import importlib
import tempfile
from pathlib import Path
from typing import cast

import click

from benchmarks.harness import Options, Row, machine, table, write_result

HERE = Path(__file__).parent
#: What takes too much disk or time to run unless it is named.
ON_DEMAND = {"gpu", "pairs_large", "search_large"}
#: What makes its own pictures.
WITHOUT_DATA = {"gpu"}
NAMES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


@click.command(epilog="Example: python -m benchmarks.run search --quick")
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="FACESIM_TEST_DATA",
    help="Folder with lfw_dev and photos, which only gpu does without.  "
    "[default: $FACESIM_TEST_DATA]",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()) / "facesim-bench",
    help="Where generated data is kept between runs.  [default: below the temporary folder]",
)
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), default=HERE / "results"
)
@click.option("--quick", is_flag=True, help="Less data and fewer rounds.")
@click.option("--rounds", type=click.IntRange(1), help="Interleaved rounds.  [default: 5; quick 3]")
def main(
    names: tuple[str, ...],
    data: Path | None,
    work: Path,
    results: Path,
    quick: bool,
    rounds: int | None,
) -> None:
    """Run the benchmarks NAMES, or all but the large ones."""
    if data is None and not (names and WITHOUT_DATA.issuperset(names)):
        raise click.UsageError("missing option '--data'")
    work.mkdir(parents=True, exist_ok=True)
    options = Options(
        (data or work).resolve(), work.resolve(), quick, rounds or (3 if quick else 5)
    )
    click.echo(machine())
    for name in names or [name for name in NAMES if name not in ON_DEMAND]:
        module = importlib.import_module(f"benchmarks.bench_{name}")
        rows = cast("list[Row]", module.run(options))
        path = write_result(results, name, rows, quick=quick)
        click.echo(f"\n## {name}\n\n{table(rows)}\n\nadded to {path.name}")


if __name__ == "__main__":
    main()
