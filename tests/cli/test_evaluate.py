import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from facesim_index import FaceIndex
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from tests.builders import FAKE
from tests.example_pictures import fake_photo

FIELDS = (
    *("pairs", "accuracy", "accuracy_se", "threshold", "auc", "eer", "tar_at_far", "cllr"),
    *("cllr_min", "ece", "brier", "images_without_face", "engine", "calibration"),
)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six people with three pictures each; one picture has no face."""
    folder = tmp_path / "people"
    for n in range(6):
        (folder / f"P{n}").mkdir(parents=True)
        for k in range(1, 4):
            colour = (0, 0, 0) if (n, k) == (5, 3) else (40 * n + 8, 20, 2 * k)
            path = folder / f"P{n}" / f"P{n}_{k:04d}.png"
            path.write_bytes(fake_photo([colour], side_px=32) + b" " * n)
    return folder


@pytest.fixture
def pairs(people: Path) -> Path:
    lines = ["6"]
    lines += [f"P{n}\t1\t2" for n in range(5)] + ["P5\t1\t3"]
    lines += [f"P{n}\t1\tP{(n + 1) % 6}\t2" for n in range(6)]
    file = people.parent / "pairs.txt"
    file.write_text("\n".join(lines))
    return file


def facesim(folder: Path, *words: object) -> Result:
    command = ["--index", str(folder / "cache.facesim"), *(str(word) for word in words)]
    return CliRunner().invoke(main, command, obj=State(engine=FAKE), catch_exceptions=False)


def test_pairs_are_judged_and_a_missing_face_is_a_failure(
    people: Path, pairs: Path, tmp_path: Path
) -> None:
    words = ("evaluate", pairs, "--images", people, "--format", "json")
    first = facesim(tmp_path, *words)
    assert first.exit_code == 0, first.stderr
    found = json.loads(first.stdout)
    assert set(FIELDS) <= set(found)
    assert (found["pairs"], found["images_without_face"]) == (12, 1)
    assert found["accuracy_best"] == pytest.approx(11 / 12)
    assert found["tar_at_far"] == {}, "six impostor pairs show no rate of a tenth"
    assert (found["cllr"], found["ece"], found["calibration"]) == (None, None, None)
    with FaceIndex.open(tmp_path / "cache.facesim", engine=FAKE) as index:
        generation = index.status().generation
    again = facesim(tmp_path, *words)
    assert json.loads(again.stdout) == found
    with FaceIndex.open(tmp_path / "cache.facesim", engine=FAKE) as index:
        assert index.status().generation == generation, "nothing was read again"


def test_flip_keeps_its_embeddings_in_an_index_of_its_own(
    people: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("evaluate", str(pairs), "--images", str(people), "--format", "json")
    for augment in ("none", "flip"):
        said = CliRunner().invoke(main, [*words, "--augment", augment], obj=State(engine=FAKE))
        assert said.exit_code == 0, said.stderr
        assert ("augment flip" in json.loads(said.stdout)["engine"]) == (augment == "flip")
    both = [*words, "--augment", "flip", "--numerics", "bf16"]
    said = CliRunner().invoke(main, both, obj=State(engine=FAKE))
    assert "augment flip, numerics bf16" in json.loads(said.stdout)["engine"]
    kept = sorted(path.name for path in tmp_path.glob("*.facesim"))
    assert kept == [
        "people.evaluation.facesim",
        "people.flip.bf16.evaluation.facesim",
        "people.flip.evaluation.facesim",
    ]


def test_an_index_of_another_augmentation_does_not_serve(
    people: Path, pairs: Path, tmp_path: Path
) -> None:
    words = ("evaluate", pairs, "--images", people, "--format", "json")
    assert facesim(tmp_path, *words).exit_code == 0
    flip = (*words, "--augment", "flip", "--cache", tmp_path / "flip.facesim")
    found = json.loads(facesim(tmp_path, *flip).stdout)
    assert "augment flip" in found["engine"]
    with FaceIndex.open(tmp_path / "flip.facesim") as index:
        assert index.augment == "flip"
    with FaceIndex.open(tmp_path / "cache.facesim") as index:
        assert index.augment == "none"


def test_the_table_names_its_figures(people: Path, pairs: Path, tmp_path: Path) -> None:
    table = facesim(tmp_path, "evaluate", pairs, "--images", people, "--folds").stdout
    for word in ("accuracy", "threshold", "auc", "eer", "no face in   1 picture"):
        assert word in table


def test_people_are_found_among_all_others(people: Path, tmp_path: Path) -> None:
    result = facesim(tmp_path, "evaluate", "--people", people, "--format", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["people"], found["images"], found["enrolled"]) == (6, 18, 6)
    assert found["mated_searches"] == 12
    assert found["rank"]["1"] == pytest.approx(11 / 12)
    assert found["images_without_face"] == 1


def test_wrong_usage_is_refused(people: Path, pairs: Path, tmp_path: Path) -> None:
    for words in (
        (),
        (pairs, "--people", people),
        ("--people", people, "--folds"),
        (pairs, "--images", people, "--protocol", "lfw"),
        (pairs, "--images", people, "--protocol", "lfw", "--folds"),
        (pairs,),
    ):
        assert facesim(tmp_path, "evaluate", *words).exit_code == 2
    inside = facesim(tmp_path, "evaluate", "--people", people, "--cache", people / "x.facesim")
    assert (inside.exit_code, "among the pictures" in inside.stderr) == (2, True)
    assert not (tmp_path / "cache.facesim").exists()


@pytest.mark.slow
def test_the_listed_pairs_of_real_people(test_data: Path, tmp_path: Path) -> None:
    lines = (test_data / "lfw_dev" / "pairsDevTest.txt").read_text().splitlines()
    few = tmp_path / "pairs.txt"
    few.write_text("\n".join(["40", *lines[1:41], *lines[501:541]]))
    words = ["--index", str(tmp_path / "i.facesim"), "evaluate", str(few), "--format", "json"]
    images = str(test_data / "lfw_dev" / "images")
    result = CliRunner().invoke(main, [*words, "--images", images], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["pairs"], found["images_without_face"]) == (80, 0)
    assert found["accuracy"] > 0.95
    assert found["auc"] > 0.99
    assert found["calibration"] == "lfw-dev"
    assert found["cllr"] < 0.2
    assert np.isfinite(found["ece"])
