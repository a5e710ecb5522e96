"""What the package offers: everything by its own name, and nothing is loaded before it is used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import facesim_index

STANDARD = sys.stdlib_module_names
SOURCE = ast.parse(Path(facesim_index.__file__).read_text(encoding="utf-8"))


def test_every_name_is_there_and_documented() -> None:
    assert facesim_index.__all__ == sorted(
        set(facesim_index.__all__), key=facesim_index.__all__.index
    )
    for name in facesim_index.__all__:
        found = getattr(facesim_index, name)
        assert name in dir(facesim_index)
        if callable(found):
            assert found.__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        facesim_index.nothing  # noqa: B018


def test_a_name_is_the_object_of_its_module_however_it_is_reached() -> None:
    for name, home in facesim_index._HOMES.items():
        assert getattr(facesim_index, name) is getattr(import_module(home), name)


def test_type_checkers_see_what_is_exported() -> None:
    [block] = [node for node in SOURCE.body if isinstance(node, ast.If)]
    static = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert static == facesim_index._HOMES
    assert set(facesim_index.__all__) == {*static, "__version__"}


def test_importing_the_package_loads_only_itself() -> None:
    code = (
        "import sys; before = set(sys.modules); import facesim_index;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] not in STANDARD}
    assert loaded == {"facesim_index", "facesim_index.version"}
