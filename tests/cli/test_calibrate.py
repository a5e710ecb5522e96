import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.cli.calibrate import calibrate
from facesim_index.cli.ingest import ingest
from facesim_index.cli.main import FacesimGroup
from facesim_index.cli.query import compare
from facesim_index.cli.state import State
from facesim_index.cli.upkeep import status
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.store.folder.store import FolderStore
from tests import builders
from tests.asking import calibration_of, named
from tests.builders import FAKE
from tests.example_pictures import Colour, fake_photo

N_PEOPLE = 24
COMMANDS = {"calibrate": calibrate, "ingest": ingest, "status": status}
MAIN = FacesimGroup("facesim", commands=COMMANDS)


def shade(person: int, number: int) -> Colour:
    """Return a colour of a person: they differ in the bucket of 16, their pictures within it."""
    return (8 + 16 * (person % 8), 24 + 16 * (person // 8) + number, 200)


def facesim(index: Path, *words: object) -> Result:
    """Run a command about calibrations in this process, with the fake engine."""
    return run(index, "calibrate", *words)


def run(index: Path, *words: object) -> Result:
    """Run any command in this process, with the fake engine."""
    return CliRunner().invoke(
        MAIN,
        [str(word) for word in words],
        obj=State(index=index, quiet=False, engine=FAKE),
        catch_exceptions=False,
    )


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures each of 24 people, in one folder a person."""
    root = tmp_path_factory.mktemp("labels") / "people"
    for person in range(N_PEOPLE):
        name = f"p{person:02d}"
        (root / name).mkdir(parents=True)
        for number in range(3):
            (root / name / f"{name}_{number + 1:04d}.png").write_bytes(
                fake_photo([shade(person, number)])
            )
    return root


def make_index(folder: Path, *pictures: Path) -> Path:
    with builders.new_store(folder) as store:
        if pictures:
            builders.ingest(store, *pictures)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of one photo of two people."""
    (tmp_path / "couple.png").write_bytes(fake_photo([shade(0, 0), shade(1, 0)]))
    return make_index(tmp_path / "i.facesim", tmp_path / "couple.png")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, people: Path) -> Path:
    """An index that has the labelled pictures already."""
    return make_index(tmp_path_factory.mktemp("cache") / "c.facesim", people)


@pytest.fixture(scope="module")
def exported(people: Path, cache: Path) -> Path:
    """A calibration named own, fitted on the labelled pictures."""
    file = cache.parent / "own.json"
    fitted = facesim(cache, "--people", people, "--name", "own", "--method", "logistic")
    assert fitted.exit_code == 0, fitted.stderr
    assert facesim(cache, "export", "own", file).exit_code == 0
    assert facesim(cache, "drop", "own").exit_code == 0
    return file


def listed(index: Path) -> list[tuple[str, bool]]:
    result = facesim(index, "list", "--json")
    assert result.exit_code == 0
    return [(entry["name"], entry["active"]) for entry in json.loads(result.stdout)]


def n_faces(index: Path) -> int:
    with FolderStore(index) as store, store.view() as view:
        return sum(len(segment.face_ids) for segment in view.segments)


def test_a_folder_of_people_is_fitted_shown_stored_and_used(
    index: Path, people: Path, cache: Path
) -> None:
    result = facesim(index, "--people", people, "--cache", cache)
    assert result.exit_code == 0, result.stderr
    assert "people: 72 pictures of 24 people" in result.stdout
    assert "72 of one person, 2,484 of two people" in result.stdout
    for words in ("logistic", "isotonic", "beta", "on people left out of the fit", "any curve"):
        assert words in result.stdout
    assert "people: stored, and used from now on" in result.stdout
    assert listed(index) == [("people", True)]
    with FolderStore(index) as store:
        calibration = calibration_of(store)
    assert calibration is not None
    assert calibration.evidence.n_people == N_PEOPLE


def test_without_a_cache_nothing_is_kept_and_the_index_not_filled(
    index: Path, people: Path, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir())
    result = facesim(index, "--people", people)
    assert result.exit_code == 0, result.stderr
    assert "--cache INDEX keeps them" in result.stderr
    assert set(tmp_path.iterdir()) == before
    assert n_faces(index) == 2


def test_a_new_cache_is_filled_and_then_serves(index: Path, people: Path, tmp_path: Path) -> None:
    few = tmp_path / "new.facesim"
    assert facesim(index, "--people", people, "--cache", few).exit_code == 0
    assert n_faces(few) == 72
    assert n_faces(index) == 2
    again = facesim(index, "--people", people, "--cache", few, "--json")
    assert json.loads(again.stdout)["n_pictures"] == 72


def test_a_cache_of_another_engine_is_refused(index: Path, people: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(FAKE_IDENTITY, recogniser_sha256="other")
    with FolderStore.open_or_create(tmp_path / "other.facesim", other, "fake"):
        pass
    result = facesim(index, "--people", people, "--cache", tmp_path / "other.facesim")
    assert result.exit_code == 1
    assert "was built with" in result.stderr
    assert listed(index) == []


def test_an_index_that_has_the_pictures_needs_no_cache(people: Path, tmp_path: Path) -> None:
    own = make_index(tmp_path / "own.facesim", people)
    result = facesim(own, "--people", people)
    assert result.exit_code == 0
    assert "--cache" not in result.stderr
    assert n_faces(own) == 72


def test_the_fit_as_json(index: Path, people: Path, cache: Path) -> None:
    words = "--people", people, "--cache", cache
    assert facesim(index, *words, "--name", "first").exit_code == 0
    result = facesim(index, *words, "--name", "second", "--no-use", "--method", "beta", "--json")
    document = json.loads(result.stdout)
    assert list(document) == [
        *("name", "used", "method", "chosen", "head", "heads", "n_pictures", "n_without_face"),
        *("n_people", "n_genuine", "n_impostor", "cllr", "cllr_min", "in_force_before"),
        *("in_force_before_cllr", "notes"),
    ]
    assert (document["name"], document["used"], document["method"]) == ("second", False, "beta")
    assert document["in_force_before"] == "first"
    assert 0 <= document["in_force_before_cllr"] < 0.1
    assert list(document["cllr"]) == ["beta"]
    assert listed(index) == [("first", True), ("second", False)]


def test_a_list_of_pictures_in_lfws_format(
    index: Path, people: Path, cache: Path, tmp_path: Path
) -> None:
    lines = ["24"]
    lines += [f"p{n:02d}\t1\t2" for n in range(24)]
    lines += [f"p{n:02d}\t1\tp{(n + 1) % 24:02d}\t3" for n in range(24)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    words = "--pairs", tmp_path / "pairs.txt", "--images", people, "--cache", cache
    result = facesim(index, *words, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    # The folders say who is who: every pair of the 72 listed pictures.
    assert (document["name"], document["n_genuine"], document["n_impostor"]) == ("pairs", 72, 2484)


def test_a_list_of_faces_of_the_index(cache: Path, tmp_path: Path) -> None:
    own = make_index(tmp_path / "own.facesim")
    lines = ["face_a,face_b,same"]
    # Face ids follow the walk: three a person.
    for first in range(1, 73, 3):
        lines += [f"{first},{first + 1},1", f"{first + 1},{first + 2},1"]
        lines += [f"{first},{(first + 2) % 72 + 1},0", f"{first},{(first + 33) % 72 + 1},0"]
    (tmp_path / "faces.csv").write_text("\n".join(lines))
    result = facesim(cache, "--pairs", tmp_path / "faces.csv", "--no-use", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["n_people"], document["n_genuine"], document["n_impostor"]) == (24, 48, 48)
    assert facesim(cache, "drop", "faces").exit_code == 0
    unknown = facesim(own, "--pairs", tmp_path / "faces.csv")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "there is no face 1" in unknown.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--people FOLDER or --pairs FILE"),
        (["--people", "{people}", "--pairs", "{file}"], "either --pairs or --people"),
        (["--people", "{people}", "--images", "{people}"], "--images says where"),
        (["--people", "{people}", "list"], "options of list after its name"),
        (["--no-use", "check"], "options of check after its name"),
        (["check", "--images", "{people}"], "--images says where"),
        (["--people", "{people}", "--name", "default"], "neither replaced nor dropped"),
        (["--people", "{empty}"], "no pictures in folders"),
        (["use", "gone"], "no calibration 'gone'"),
        (["drop", "gone"], "no calibration 'gone'"),
        (["drop", "default"], "neither replaced nor dropped"),
        (["show", "gone"], "there are: none"),
    ],
)
def test_wrong_usage_is_refused(
    index: Path, people: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"people": people, "empty": tmp_path / "empty", "file": tmp_path / "couple.png"}
    result = facesim(index, *(word.format(**places) for word in words))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert listed(index) == []


def test_too_few_people_are_refused_with_what_is_missing(index: Path, tmp_path: Path) -> None:
    for person in range(3):
        (tmp_path / "few" / f"p{person}").mkdir(parents=True)
        for number in range(2):
            path = tmp_path / "few" / f"p{person}" / f"{number}.png"
            path.write_bytes(fake_photo([shade(person, number)] if person + number else []))
    result = facesim(index, "--people", tmp_path / "few")
    assert result.exit_code == 1
    assert "2 people with two pictures or more (at least 5)" in result.stderr
    assert "no face was found in 1 of 6 pictures" in result.stderr
    assert listed(index) == []


def test_without_an_index_nothing_is_made(tmp_path: Path, people: Path) -> None:
    for words in (["--people", people], ["list"], ["check"], ["use", "default"]):
        result = facesim(tmp_path / "none", *words)
        assert result.exit_code == 1
        assert "is not a facesim index" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_export_then_import_is_the_identity(index: Path, exported: Path) -> None:
    kept = facesim(index, "import", exported, "--use")
    assert (kept.exit_code, kept.stdout) == (0, "kept own, and used from now on\n")
    again = facesim(index, "export", "own", "-")
    assert again.stdout == exported.read_text(encoding="utf-8")
    assert json.loads(facesim(index, "show", "--json").stdout) == json.loads(again.stdout)
    assert facesim(index, "import", exported, "--name", "copy").exit_code == 0
    assert listed(index) == [("copy", False), ("own", True)]


def test_compare_takes_an_exported_calibration(
    exported: Path, people: Path, tmp_path: Path
) -> None:
    one, two = people / "p00/p00_0001.png", people / "p00/p00_0002.png"
    words = ["compare", str(one), str(two), "--format", "json"]
    state = State(index=None, quiet=False, engine=FAKE)

    def compared(*more: str) -> Result:
        group = FacesimGroup("facesim", commands={"compare": compare})
        return CliRunner().invoke(group, [*words, *more], obj=state, catch_exceptions=False)

    assert json.loads(compared().stdout)["degree"] is None  # None comes with the fake engine.
    calibration = from_json(exported.read_text(encoding="utf-8"))
    own = json.loads(compared("--calibration", str(exported)).stdout)
    assert own["calibration"] == calibration.name
    assert own["degree"] == calibrated_degree(np.array([own["cosine"]]), calibration)[0] > 0.5
    other = tmp_path / "other.json"
    other.write_text(
        to_json(dataclasses.replace(calibration, engine_key="another")), encoding="utf-8"
    )
    refused = compared("--calibration", str(other))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "for another engine" in refused.stderr
    other.write_text("{}", encoding="utf-8")
    assert "other.json" in compared("--calibration", str(other)).stderr


def test_import_refuses_what_does_not_belong(index: Path, exported: Path, tmp_path: Path) -> None:
    document = json.loads(exported.read_text())
    file = tmp_path / "c.json"
    file.write_text(json.dumps({**document, "name": "foreign", "engine_key": "another"}))
    foreign = facesim(index, "import", file, "--use")
    assert (foreign.exit_code, foreign.stdout) == (1, "")
    assert "is for another engine (another)" in foreign.stderr
    for text in ("no JSON", "{}", "\udcff"):
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        broken = facesim(index, "import", file)
        assert broken.exit_code == 1
        assert "c.json" in broken.stderr
    assert listed(index) == []


def test_a_calibration_is_shown_with_the_scores_it_takes(
    index: Path, exported: Path, tmp_path: Path
) -> None:
    own = from_json(exported.read_text(encoding="utf-8"))
    weights = np.zeros((FAKE_IDENTITY.dimension, 2), np.float32)
    normalised = dataclasses.replace(own, normalisation=Normalisation(0.0, 0.1, 0.9, weights))
    file = tmp_path / "normalised.json"
    file.write_text(to_json(normalised), encoding="utf-8")
    facesim(index, "import", exported, "--name", "plain")
    facesim(index, "import", file, "--name", "normalised")
    assert "head     cosine\n" in facesim(index, "show", "plain").stdout
    assert "head     normalised cosine\n" in facesim(index, "show", "normalised").stdout


def test_use_show_and_drop(index: Path, exported: Path) -> None:
    facesim(index, "import", exported, "--name", "first")
    facesim(index, "import", exported, "--name", "second", "--use")
    assert listed(index) == [("first", False), ("second", True)]
    used = facesim(index, "use", "first")
    assert (used.exit_code, used.stdout) == (0, "degrees are now made with first\n")
    shown = facesim(index, "show")
    assert "logistic regression" in shown.stdout
    assert "cross-validation in 5 folds of people: Cllr" in shown.stdout
    assert "name     second" in facesim(index, "show", "second").stdout
    table = facesim(index, "list").stdout
    assert [line[:1] for line in table.splitlines()[1:]] == ["*", " "]
    dropped = facesim(index, "drop", "first")
    assert (dropped.exit_code, dropped.stdout) == (0, "dropped first\n")
    assert "cosines are given without degrees" in dropped.stderr
    assert listed(index) == [("second", False)]
    assert from_json(facesim(index, "export", "second", "-").stdout).name == "second"


@pytest.fixture
def crowds(tmp_path: Path) -> Path:
    """An index of 30 photos of eight people each, of 40 in all."""
    (tmp_path / "photos").mkdir()
    for number in range(30):
        colours = [shade((8 * number + place) % 40, number) for place in range(8)]
        (tmp_path / "photos" / f"{number}.png").write_bytes(fake_photo(colours))
    return make_index(tmp_path / "crowds.facesim", tmp_path / "photos")


def test_check_fits(crowds: Path, exported: Path) -> None:
    facesim(crowds, "import", exported, "--use")
    result = facesim(crowds, "check")
    assert result.exit_code == 0
    assert "Two people in one photo: 840 pairs in 30 photos" in result.stdout
    assert result.stdout.rstrip().endswith("down to false match rate 0.01.")
    document = json.loads(facesim(crowds, "check", "--json").stdout)
    assert document["verdict"] == "fits"
    assert (document["n_images"], document["n_pairs"], document["labels"]) == (30, 840, None)
    assert document["across"][0]["rate"] == 0.1
    assert len(document["highest"]) == 5
    assert [group["name"] for group in document["groups"]] == []  # all faces are of one kind
    told = run(crowds, "status")
    assert "these pictures" not in told.stdout + told.stderr
    document = json.loads(run(crowds, "status", "--json").stdout)
    assert document["calibration_verdict"] == "fits"


def test_check_says_plainly_when_it_claims_too_much(
    crowds: Path, exported: Path, tmp_path: Path
) -> None:
    document = json.loads(exported.read_text())
    # Of strangers one in a thousand is said to reach -0.3: all of these do.
    document["false_matches"] = [[-0.5, -1.0], [-0.3, -3.0], [-0.2, -5.0]]
    (tmp_path / "bold.json").write_text(json.dumps(document))
    assert facesim(crowds, "import", tmp_path / "bold.json", "--use").exit_code == 0
    result = facesim(crowds, "check")
    assert result.exit_code == 1
    assert "'own' claims too much for these pictures" in result.stdout
    assert "too many" in result.stdout
    for words in (("status",), ("ingest", str(tmp_path / "photos"))):
        told = run(crowds, *words)
        assert told.exit_code == 0
        assert told.stderr.count("'own' claims too much for these pictures") == 1
        assert "claims too much" not in told.stdout
    document = json.loads(run(crowds, "status", "--json").stdout)
    assert document["calibration_verdict"] == "claims_too_much"
    assert document["calibration_sentence"] in told.stderr


def test_check_with_labels(index: Path, people: Path, cache: Path, exported: Path) -> None:
    facesim(index, "import", exported, "--use")
    few = facesim(index, "check")
    assert few.exit_code == 0
    assert "too few different people to tell" in few.stdout
    more = facesim(index, "check", "--people", people, "--cache", cache)
    assert more.exit_code == 0
    assert "people: 72 pairs of one person, 2,484 of two people, 24 people" in more.stdout
    assert "fits these pictures" in more.stdout
    labels = "--people", people, "--cache", cache
    document = json.loads(facesim(index, "check", *labels, "--json").stdout)
    assert document["labels"]["figures"]["n_genuine"] == 72


def test_check_without_a_calibration_is_refused(index: Path) -> None:
    result = facesim(index, "check")
    assert result.exit_code == 1
    assert "there is no calibration for the engine" in result.stderr


# Heads


def test_a_head_that_is_no_better_is_refused_unless_forced(
    index: Path, people: Path, cache: Path, tmp_path: Path
) -> None:
    # The fake engine's people are so far apart that nothing can be better than the cosine.
    words = "--people", people, "--cache", cache, "--method", "logistic", "--head", "product"
    refused = facesim(index, *words)
    assert refused.exit_code == 1
    assert "the product head is no better than the plain cosine" in refused.stderr
    for word in ("Cllr", "difference", "--force", "nothing was stored"):
        assert word in refused.stderr
    assert listed(index) == []
    forced = facesim(index, *words, "--force")
    assert forced.exit_code == 0, forced.stderr
    assert "Heads, on people left out of the learning and the fit" in forced.stdout
    assert "taken because of --force" in forced.stderr
    assert listed(index) == [("people", True)]
    shown = facesim(index, "show")
    assert "head     product, 512 weights" in shown.stdout
    assert "score" in shown.stdout
    [entry] = json.loads(facesim(index, "list", "--json").stdout)
    assert entry["head"] == "product"
    assert "product" in facesim(index, "list").stdout
    file = tmp_path / "p.json"
    assert facesim(index, "export", "people", file).exit_code == 0
    assert facesim(index, "import", file, "--name", "again").exit_code == 0
    with FolderStore(index) as store:
        assert named(store, "again").head == named(store, "people").head
    checked = facesim(index, "check", "--people", people, "--cache", cache)
    assert "people, product head" in checked.stdout
    assert "from score" in checked.stdout


def test_auto_keeps_the_cosine_where_no_head_is_better(
    index: Path, people: Path, cache: Path
) -> None:
    words = "--people", people, "--cache", cache, "--method", "logistic", "--head", "auto"
    result = facesim(index, *words, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["head"] == "cosine"
    assert [trial["head"] for trial in document["heads"]] == [
        "weighted-l1",
        "product",
        "contrastive",
    ]
    for trial in document["heads"]:
        assert trial["gain"] == pytest.approx(trial["cosine_cllr"] - trial["cllr"])
        assert trial["gain"] <= 2.4 * trial["gain_error"]
    assert "no learned head is better" in result.stderr


@pytest.mark.parametrize("words", [(), ("--head", "auto"), ("--head", "cosine")])
def test_force_needs_a_learned_head(index: Path, people: Path, words: tuple[str, ...]) -> None:
    result = facesim(index, "--people", people, "--force", *words)
    assert result.exit_code == 2
    assert "--force belongs to a learned head" in result.stderr
