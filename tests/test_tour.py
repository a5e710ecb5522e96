"""The notebook of the documentation runs as it is, and is kept without what it shows."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "tour.ipynb"
CELL_TIMEOUT_S = 300


def notebook_as_kept() -> NotebookNode:
    notebook = nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    assert isinstance(notebook, NotebookNode)
    return notebook


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """The notebook after a run in a folder of its own."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "tmp").mkdir()
    notebook = notebook_as_kept()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(folder / "tmp"))
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            patched.setenv(name, str(folder / name.lower()))
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT_S,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute()
    assert list((folder / "tmp").iterdir()) == [], "the tour cleans up"
    return notebook


def outputs(notebook: NotebookNode, *words: str) -> list[NotebookNode]:
    """Return the outputs of the one cell whose source has all these words."""
    [cell] = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and all(word in cell.source for word in words)
    ]
    return list(cell.outputs)


def shown(notebook: NotebookNode, *words: str) -> str:
    """Return the HTML that such a cell shows."""
    [output] = outputs(notebook, *words)
    return str(output["data"]["text/html"])


def n_faces(page: str) -> int:
    return page.count("data:image/jpeg;base64,")


@pytest.mark.slow
def test_the_tour_runs_and_nothing_goes_wrong(executed: NotebookNode) -> None:
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    every = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in every} <= {"execute_result", "display_data"}
    assert not any("error" in output.output_type or "stderr" in str(output) for output in every)


@pytest.mark.slow
def test_the_tour_shows_what_it_tells_of(executed: NotebookNode) -> None:
    assert "29 added, 29 in the index" in shown(executed, "index.ingest(photos)", "FaceIndex.open")
    status = shown(executed, "index.status()")
    assert "4 (4 with faces)" in status
    answer = shown(executed, "answer = index.query(portrait")
    assert n_faces(answer) == 7
    assert "basketball-team.jpg" in answer
    [best] = outputs(executed, "best = answer")
    degree = re.search(r"'degree': (0\.\d+)", best["data"]["text/plain"])
    assert degree is not None
    assert float(degree[1]) > 0.9
    assert n_faces(shown(executed, "compare(portrait")) == 2


@pytest.mark.slow
def test_the_tour_draws_the_matrix_and_the_curve(executed: NotebookNode) -> None:
    for words in ("imshow", "fill_between"):
        [figure] = outputs(executed, words)
        assert len(figure["data"]["image/png"]) > 5_000


@pytest.mark.slow
def test_the_tour_finds_people(executed: NotebookNode) -> None:
    people = shown(executed, "index.people.everyone()")
    assert len(re.findall(r"<tr>", people)) == 1 + 7, "the six of the group, and Yao Ming"
    assert n_faces(shown(executed, 'index.people.show("Yao Ming")')) == 2
    assert "Yao Ming" in shown(executed, 'query(person="Yao Ming"')
    assert "Is this face that person&#x27;s?" in shown(executed, "review(top=3)")


def test_the_tour_is_kept_without_outputs_and_without_paths_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 10
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not re.search(r"(^|[\s\"'(=])(/[a-z]+/|~/|[A-Z]:\\\\)", text), "paths of a machine"
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook_as_kept().nbformat == 4, "nbformat finds it valid"
