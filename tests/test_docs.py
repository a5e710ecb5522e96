"""The docs name nothing that is gone, and the tour leaves out no package."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import facesim_index

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "facesim_index"
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PACKAGES = sorted(
    path.parent.relative_to(PACKAGE).as_posix().replace("/", ".")
    for path in PACKAGE.rglob("__init__.py")
    if path.parent not in (PACKAGE, PACKAGE / "calibration" / "data")
)
TOP = {name.partition(".")[0] for name in PACKAGES} | {
    path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")
}
# Columns of tables and files of users that look like modules, and files that others make.
NO_MODULES = {"engine.augment", "engine.numerics", "pairs.txt"}
ELSEWHERE = {"setup.py"}


def is_there(dotted: str) -> bool:
    """Tell whether a module of the package, or something in one, has this dotted name."""
    words = dotted.split(".")
    for length in range(len(words), 0, -1):
        path = PACKAGE.joinpath(*words[:length])
        if path.is_dir() or path.with_suffix(".py").is_file():
            found: object = import_module(".".join([facesim_index.__name__, *words[:length]]))
            for word in words[length:]:
                if not hasattr(found, word):
                    return False
                found = getattr(found, word)
            return True
    return False


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_names_no_module_that_is_gone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    dotted = set(re.findall(r"`(?:facesim_index\.)?([a-z_]+(?:\.\w+)+)`", text))
    named = {name for name in dotted - NO_MODULES if name.partition(".")[0] in TOP}
    assert [name for name in sorted(named) if not is_there(name)] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_names_no_source_file_that_is_gone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    files = set(re.findall(r"(?<![\w/.])((?:[\w.-]+/)*[\w-]+\.(?:py|toml))\b", text)) - ELSEWHERE
    gone = [
        name
        for name in sorted(files)
        if not (ROOT / name).exists() and not any(ROOT.glob(f"[a-z]*/**/{name}"))
    ]
    assert gone == []


def test_the_tour_has_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    headings = " ".join(re.findall(r"^## (.*)$", text, re.MULTILINE))
    for name in PACKAGES:
        if "." in name:
            assert f"`{name}`" in text or f"`{name.rpartition('.')[2]}`" in text, name
        else:
            assert re.search(rf"\b{name}\b", headings), name


def test_every_package_says_which_question_it_answers() -> None:
    for name in PACKAGES:
        document = import_module(f"facesim_index.{name}").__doc__
        assert document, name
        assert "?" in document or name == "utils", name
