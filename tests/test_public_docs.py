"""What is public is documented in full: every parameter, what is returned, and an example.

The examples themselves are run by pytest as doctests, with the names that the root ``conftest.py``
gives them.
"""

import dataclasses
import doctest
import enum
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import facesim_index
from facesim_index import CalibrationBook, FaceIndex, PeopleBook, Progress
from facesim_index.errors import FacesimError

SECTIONS = (
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "See Also",
    "Notes",
    "References",
    "Examples",
)
#: Classes whose methods each have an example of their own.
TOOLS = (FaceIndex, PeopleBook, CalibrationBook)


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of a numpydoc docstring: what stands in it, by the names of its entries.

    An entry begins at the margin, ``name : type`` or ``name_a, name_b : type``; its description is
    indented below it.
    """

    text: str

    @property
    def entries(self) -> dict[str, str]:
        """The description of each name, with its type."""
        found: dict[str, str] = {}
        for entry in re.split(r"\n(?=\S)", self.text):
            head, _, body = entry.partition("\n")
            names, _, kind = head.partition(" : ")
            described = f"{kind} {textwrap.dedent(body)}".strip()
            found |= {name.strip().lstrip("*"): described for name in names.split(",")}
        return found


def sections(document: str) -> dict[str, Section]:
    """Cut a docstring at its underlined headings."""
    heading = re.compile(rf"^({'|'.join(SECTIONS)})\n-+$", re.MULTILINE)
    _, *parts = heading.split(document)
    return {
        name: Section(text.strip("\n")) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def documented(found: object) -> dict[str, Section]:
    """Return the sections of the docstring that was written for a class or function."""
    own = vars(found).get("__doc__") if inspect.isclass(found) else found.__doc__
    assert own, found
    return sections(inspect.cleandoc(own))


def public_classes() -> list[type]:
    """Return the classes that the package exports."""
    found = [getattr(facesim_index, name) for name in facesim_index.__all__]
    return [value for value in found if inspect.isclass(value)]


def public_functions() -> list[Callable[..., object]]:
    """Return the functions that the package exports."""
    found = [getattr(facesim_index, name) for name in facesim_index.__all__]
    return [value for value in found if inspect.isfunction(value)]


def methods(owner: type) -> Iterator[Callable[..., object]]:
    """Yield the public methods of a class, also those that it inherits from one of ours."""
    for name, value in inspect.getmembers(owner):
        defined = next((base for base in owner.__mro__ if name in vars(base)), owner)
        function = inspect.unwrap(getattr(value, "__func__", value))
        ours = defined.__module__.startswith("facesim_index")
        if ours and inspect.isfunction(function) and not name.startswith("_"):
            yield function


FUNCTIONS = [
    *public_functions(),
    *{
        method.__qualname__: method for owner in public_classes() for method in methods(owner)
    }.values(),
]
EXAMPLES = [
    *public_classes(),
    *public_functions(),
    *{method.__qualname__: method for owner in TOOLS for method in methods(owner)}.values(),
]


def name_of(value: type | Callable[..., object]) -> str:
    """Name a test case."""
    return value.__qualname__


def parameters(function: Callable[..., object]) -> list[str]:
    """Return the names of the parameters that a caller gives."""
    names = list(inspect.signature(function).parameters)
    return names[names[:1] in (["self"], ["cls"]) :]


def test_the_parser_knows_its_sections() -> None:
    document = inspect.cleandoc(inspect.getdoc(facesim_index.compare) or "")
    found = sections(document)
    assert list(found) == ["Parameters", "Returns", "Raises", "Examples"]
    assert {"picture_a", "picture_b", "prior"} <= set(found["Parameters"].entries)
    assert "0.5" in found["Parameters"].entries["prior"]
    headings = re.findall(r"^([A-Z]\w[\w ]*)\n-{3,}$", document, re.MULTILINE)
    assert set(headings) == set(found)


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_each_parameter_of_a_function_is_documented(function: Callable[..., object]) -> None:
    found = documented(function)
    listed = list(found["Parameters"].entries) if "Parameters" in found else []
    assert listed == parameters(function), "in the order of the signature"


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_what_a_function_returns_is_documented(function: Callable[..., object]) -> None:
    returned = inspect.signature(function).return_annotation
    assert returned is not inspect.Signature.empty
    found = {"Returns", "Yields"} & set(documented(function))
    if returned is None or returned == "None":
        assert not found
    else:
        assert len(found) == 1


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_each_error_of_a_function_is_one_of_ours_with_its_reason(
    function: Callable[..., object],
) -> None:
    found = documented(function)
    for name, reason in (found["Raises"].entries if "Raises" in found else {}).items():
        assert issubclass(getattr(facesim_index, name), FacesimError)
        assert reason, name


@pytest.mark.parametrize("found", public_classes(), ids=name_of)
def test_each_field_of_a_class_is_documented(found: type) -> None:
    owners: list[type] = [found]
    names: set[str] = set()
    if dataclasses.is_dataclass(found):
        names = {field.name for field in dataclasses.fields(found)}
        owners = [base for base in found.__mro__ if dataclasses.is_dataclass(base)]
    elif issubclass(found, enum.Enum):
        names = set(found.__members__)
    elif inspect.isfunction(init := vars(found).get("__init__")) and found is not Progress:
        names = set(parameters(init))
    documents = [documented(owner) for owner in owners]
    listed: set[str] = set()
    for document in documents:
        for section in (document.get("Attributes"), document.get("Parameters")):
            listed |= set(section.entries) if section else set()
    assert names <= listed


@pytest.mark.parametrize("found", EXAMPLES, ids=name_of)
def test_there_is_an_example_that_runs(found: type | Callable[..., object]) -> None:
    own = documented(found)
    assert "Examples" in own
    examples = doctest.DocTestParser().get_examples(own["Examples"].text)
    assert examples
    assert not any(doctest.SKIP in example.options for example in examples)


def test_no_example_of_the_package_is_skipped() -> None:
    sources = Path(facesim_index.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "doctest: +SKIP" in path.read_text("utf-8")] == []


def test_pytest_runs_the_examples(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini("testpaths") == ["tests", "facesim_index"]
    assert "--doctest-modules" in pytestconfig.getini("addopts")
