"""The API answers what the command line answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from facesim_index.store.folder.store import FolderStore
from tests.coloured_people import BLUE, CURVE, DARK_RED, GREEN, RED, facesim
from tests.example_pictures import fake_photo, png
from tests.web.answers import colour_at_middle, decoded, get, is_near, matches_of
from tests.web.serving import TestClient, app_of, client_of, make_index, service_of, told

UPLOAD = {"picture": ("secret-name.png", fake_photo([DARK_RED]), "image/png")}


# The same documents as on the command line


def test_status_is_that_of_the_command_line_and_more(index: Path, client: TestClient) -> None:
    document = get(client, "/v1/status")
    more = {name: document.pop(name) for name in ("edit", "writer_active", "people", "undo")}
    expected = told(index, "status", "--json")
    assert isinstance(expected, dict)
    # An open catalog has its log beside it.
    assert document.pop("bytes_catalog")
    assert expected.pop("bytes_catalog")
    assert document == expected
    assert more == {
        "edit": False,
        "writer_active": False,
        "people": {"people": 2, "named": 0, "ignored": 0, "faces": 4, "confirmed": 0},
        "undo": "cluster",
    }


def test_a_running_writer_is_told_of(index: Path, client: TestClient) -> None:
    with FolderStore(index, writable=True):
        assert get(client, "/v1/status")["writer_active"] is True
        assert get(client, "/v1/faces/1/matches")["faces_searched"] == 4
    assert get(client, "/v1/status")["writer_active"] is False


@pytest.mark.parametrize("face_id", [1, 2, 3])
def test_matches_of_a_face_are_those_of_the_command_line(
    index: Path, client: TestClient, face_id: int
) -> None:
    document = get(client, f"/v1/faces/{face_id}/matches?top=3&prior=0.2")
    assert document.pop("next") is not None
    words = ("--face-id", face_id, "--top", 3, "--prior", 0.2)
    assert document == told(index, "query", *words, "--format", "json")


def test_matches_of_a_person_are_those_of_the_command_line(index: Path, client: TestClient) -> None:
    document = get(client, "/v1/people/1/matches?top=3&exclude_same_image=true")
    document.pop("next")
    words = ("--person", 1, "--top", 3, "--exclude-same-image")
    assert document == told(index, "query", *words, "--format", "json")


def test_a_query_by_upload_is_that_of_the_file(
    index: Path, photos: Path, client: TestClient
) -> None:
    files = {"picture": ("x.png", (photos / "couple.png").read_bytes())}
    response = client.post("/v1/query", files=files, data={"top": "2", "exclude_same_image": "1"})
    assert response.status_code == 200
    document = response.json()
    words = ("query", photos / "couple.png", "--top", 2, "--exclude-same-image")
    expected = told(index, *words, "--format", "json")
    assert isinstance(expected, dict)
    assert document.pop("query") == "the picture"
    assert expected.pop("query") == str(photos / "couple.png")
    assert document == expected
    assert [face["face"] for face in document["faces"]] == [0, 1]
    assert document["faces"][0]["matches"][0]["degree"] > 0.5


def test_one_face_of_an_upload_can_be_asked_for(client: TestClient) -> None:
    files = {"picture": fake_photo([GREEN, BLUE])}
    response = client.post("/v1/query?pictures=true", files=files, data={"face": "1", "top": "1"})
    [face] = response.json()["faces"]
    assert face["face"] == 1
    assert face["matches"][0]["path"].endswith("blue.png")
    assert is_near(colour_at_middle(decoded(face["crop"])), BLUE)
    wrong = client.post("/v1/query", files=files, data={"face": "2"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "usage")


def test_an_upload_can_be_looked_at(client: TestClient) -> None:
    tall = np.zeros((1200, 800, 3), dtype=np.uint8)
    tall[320:352, 160:192] = RED
    response = client.post("/v1/query?pictures=true", files={"picture": png(tall)})
    assert response.status_code == 200, response.text
    picture = response.json()["picture"]
    shown = decoded(picture["data"])
    assert shown.size == (picture["width"], picture["height"]) == (800, 1200)
    assert picture["scale"] == 1.0
    assert picture["boxes"] == [[160.0, 320.0, 32.0, 32.0]]
    assert len(picture["landmarks"]) == 1
    assert all(160 <= x <= 192 and 320 <= y <= 352 for x, y in picture["landmarks"][0])


def test_a_large_upload_is_shown_reduced(client: TestClient) -> None:
    wide = np.zeros((320, 3104, 3), dtype=np.uint8)
    wide[64:96, 1600:1632] = RED
    response = client.post("/v1/query?pictures=true", files={"picture": png(wide)})
    picture = response.json()["picture"]
    assert decoded(picture["data"]).size == (1600, round(320 * 1600 / 3104))
    scale = picture["scale"]
    assert scale == pytest.approx(1600 / 3104)
    x, y, w, h = picture["boxes"][0]
    assert (x, y, w, h) == pytest.approx(
        (1600 * scale, 64 * scale, 32 * scale, 32 * scale), abs=0.1
    )


def test_a_comparison_is_that_of_the_command_line(
    index: Path, photos: Path, tmp_path: Path, client: TestClient
) -> None:
    calibration = tmp_path / "curve.json"
    assert facesim(index, "calibrate", "export", CURVE.name, calibration).exit_code == 0
    a, b = photos / "couple.png", photos / "red.png"
    files = {"a": ("a", a.read_bytes()), "b": ("b", b.read_bytes())}
    data = {"face_a": "0", "prior": "0.1"}
    document = client.post("/v1/compare?pictures=true", files=files, data=data).json()
    pictures = [document[side].pop("picture") for side in ("a", "b")]
    words = ("compare", a, b, "--face-a", 0, "--prior", 0.1, "--calibration", calibration)
    expected = told(index, *words, "--format", "json")
    assert isinstance(expected, dict)
    assert [document[side].pop("path") for side in ("a", "b")] == ["picture a", "picture b"]
    assert [expected[side].pop("path") for side in ("a", "b")] == [str(a), str(b)]
    assert document == expected
    assert document["degree"] > 0.9
    assert decoded(pictures[0]["data"]).size == (160, 96)


def test_people_are_those_of_the_command_line(index: Path, client: TestClient) -> None:
    people = get(client, "/v1/people")["people"]
    assert isinstance(people, list)
    covers = [person.pop("cover_face_id") for person in people]
    assert people == told(index, "people", "list", "--format", "json")
    for person, cover in zip(people, covers, strict=True):
        assert get(client, f"/v1/faces/{cover}")["person_id"] == person["person_id"]
        assert get(client, f"/v1/people/{person['person_id']}") == {
            **person,
            "cover_face_id": cover,
        }


def test_a_review_is_that_of_the_command_line(index: Path, client: TestClient) -> None:
    document = get(client, "/v1/people/review?top=5")
    questions = document["questions"]
    assert isinstance(questions, list)
    covers = [
        (question.pop("cover_face_id"), question.pop("other_cover_face_id"))
        for question in questions
    ]
    assert document == told(index, "people", "review", "--top", 5, "--format", "json")
    assert questions
    for question, (cover, other) in zip(questions, covers, strict=True):
        assert (cover is None) == (question["person"] is None)
        assert (other is None) == (question["other_person"] is None)


def test_errors_are_those_of_the_command_line(index: Path, client: TestClient) -> None:
    document = get(client, "/v1/errors")
    assert document == {"errors": told(index, "errors", "--format", "json"), "next": None}


def test_the_calibration_is_checked_as_on_the_command_line(index: Path, client: TestClient) -> None:
    document = get(client, "/v1/calibration")
    expected = json.loads(facesim(index, "calibrate", "check", "--json").stdout)
    assert {name: document[name] for name in ("calibration", "verdict", "sentence")} == {
        name: expected[name] for name in ("calibration", "verdict", "sentence")
    }
    assert (document["n_pairs"], document["n_across"]) == (1, expected["n_across"])
    assert document["confirmed"] is None
    problem = get(client, "/v1/calibration/reliability.svg", 404)
    assert problem["code"] == "too_few_labels"


def test_confirmed_faces_make_a_reliability_diagram(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for person, red in enumerate((40, 120, 200)):
        for number in range(8):
            photo = fake_photo([(red + number, 20, 20)])
            (photos / f"{person}-{number}.png").write_bytes(photo)
    index = make_index(tmp_path / "i", photos)
    with client_of(app_of(index, edit=True)) as client:
        people = client.get("/v1/people").json()["people"]
        assert len(people) == 3
        for person in people:
            faces = client.get(f"/v1/people/{person['person_id']}/faces").json()["faces"]
            ids = [face["face_id"] for face in faces]
            body = {"faces": ids[:1], "person_id": person["person_id"]}
            assert client.post("/v1/people/move", json=body).json()["confirmed"] == 8
        confirmed = client.get("/v1/calibration").json()["confirmed"]
        assert (confirmed["n_people"], confirmed["n_genuine"], confirmed["n_impostor"]) == (
            3,
            3 * 28,
            3 * 64,
        )
        assert sum(part["genuine"] for part in confirmed["bins"]) == 84
        plot = client.get("/v1/calibration/reliability.svg")
    assert plot.headers["content-type"].startswith("image/svg+xml")
    assert b"<svg" in plot.content
    assert "sandbox" in plot.headers["content-security-policy"]


# Long lists


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/people", "people"),
        ("/v1/people/1/faces", "faces"),
        ("/v1/errors", "errors"),
    ],
)
def test_pages_add_up_to_the_whole(client: TestClient, path: str, key: str) -> None:
    whole = get(client, path)
    assert whole["next"] is None
    pages: list[object] = []
    cursor = ""
    while True:
        page = get(client, f"{path}?limit=1{cursor}")
        listed = page[key]
        assert isinstance(listed, list)
        assert len(listed) == 1
        pages += listed
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert pages == whole[key]
    assert len(pages) > 1


def test_matches_can_be_paged_through(client: TestClient) -> None:
    whole = matches_of(get(client, "/v1/faces/1/matches?top=100"))
    ranks: list[object] = []
    cursor: object = None
    for _ in range(5):
        more = "" if cursor is None else f"&cursor={cursor}"
        document = get(client, f"/v1/faces/1/matches?top=1{more}")
        ranks += matches_of(document)
        cursor = document["next"]
        if cursor is None:
            break
    assert ranks == whole
    assert len(ranks) == 4


@pytest.mark.parametrize("cursor", ["x", "!", "WyJhIl0=", "WzFd", "bnVsbA==", "Wy0xLC0xLC0xXQ=="])
def test_a_made_up_cursor_is_refused(client: TestClient, cursor: str) -> None:
    for path in ("/v1/people", "/v1/errors"):
        assert get(client, f"{path}?cursor={cursor}", 422)["code"] == "cursor"


def test_people_can_be_chosen(editor: TestClient) -> None:
    editor.patch("/v1/people/1", json={"name": "Rosa"})
    editor.patch("/v1/people/2", json={"ignored": True})

    def listed(query: str) -> list[int]:
        people = editor.get(f"/v1/people?{query}").json()["people"]
        return [person["person_id"] for person in people]

    assert listed("") == [1]
    assert listed("ignored=true") == [1, 2]
    assert listed("ignored=true&named=false") == [2]
    assert listed("named=true") == [1]
    assert listed("min_faces=3") == []


# Errors are problems


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/faces/999", 404, "not_found"),
        ("/v1/faces/999/crop", 404, "not_found"),
        ("/v1/faces/999/matches", 404, "not_found"),
        ("/v1/images/999", 404, "not_found"),
        ("/v1/images/999/picture", 404, "not_found"),
        ("/v1/people/999", 404, "not_found"),
        ("/v1/people/999/faces", 404, "not_found"),
        ("/v1/people/999/matches", 404, "not_found"),
        ("/v1/jobs/999", 404, "not_found"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/faces/one", 422, "validation"),
        ("/v1/faces/0", 422, "validation"),
        ("/v1/faces/99999999999999999999", 422, "validation"),
        ("/v1/faces/1/crop?side_px=63", 422, "validation"),
        ("/v1/faces/1/matches?top=0", 422, "validation"),
        ("/v1/faces/1/matches?prior=1", 422, "validation"),
        ("/v1/faces/1/matches?prior=nan", 422, "validation"),
        ("/v1/faces/1/matches?min_degree=2", 422, "validation"),
    ],
)
def test_an_error_is_a_problem(client: TestClient, path: str, status: int, code: str) -> None:
    response = client.get(path)
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["detail"]
    assert document["title"]


def test_a_wrong_method_is_a_problem(client: TestClient) -> None:
    response = client.delete("/v1/status")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


def test_an_unexpected_error_tells_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_face_id: int) -> None:
        raise RuntimeError("the inside of the machine")

    monkeypatch.setattr(service_of(client), "face", fail)
    response = client.get("/v1/faces/1")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "inside" not in response.text
    assert "content-security-policy" in response.headers


def test_without_a_calibration_there_are_no_degrees(tmp_path: Path, photos: Path) -> None:
    index = tmp_path / "plain.facesim"
    assert facesim(index, "ingest", photos, "--workers", "1").exit_code == 0
    with client_of(app_of(index)) as client:
        document = get(client, "/v1/faces/1/matches?top=1")
        assert "never guessed" in str(document["note"])
        for path in ("/v1/faces/1/matches?min_degree=0.5", "/v1/calibration", "/v1/people/review"):
            assert get(client, path, 409)["code"] == "calibration"
