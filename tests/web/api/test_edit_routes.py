import os
import time
from pathlib import Path

import pytest

from facesim_index.store.folder.store import FolderStore
from facesim_index.web.service import jobs
from tests.builders import ingest
from tests.coloured_people import RED
from tests.example_pictures import fake_photo
from tests.web.serving import TestClient, app_of, client_of, service_of, told


def people(client: TestClient) -> dict[int, int]:
    """Return how many faces each person has."""
    listed = client.get("/v1/people?ignored=true").json()["people"]
    return {person["person_id"]: person["faces"] for person in listed}


def finished(client: TestClient, job_id: str) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = client.get(f"/v1/jobs/{job_id}").json()
        assert isinstance(job, dict)
        if job["state"] != "running":
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_a_person_is_named_and_ignored(index: Path, editor: TestClient) -> None:
    named = editor.patch("/v1/people/1", json={"name": "  Rosa "}).json()
    assert (named["name"], named["ignored"]) == ("Rosa", False)
    both = editor.patch("/v1/people/1", json={"name": None, "ignored": True}).json()
    assert (both["name"], both["ignored"]) == (None, True)
    listed = told(index, "people", "list", "--all", "--format", "json")
    assert isinstance(listed, list)
    assert [row["ignored"] for row in listed] == [True, False]
    assert editor.get("/v1/status").json()["undo"] == "ignore"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "validation"),
        ({"ignored": None}, "validation"),
        ({"name": "12"}, "usage"),
        ({"name": " "}, "usage"),
        ({"name": "x" * 201}, "validation"),
        ({"nickname": "x"}, "validation"),
        ([], "validation"),
    ],
)
def test_what_cannot_be_changed_is_refused(editor: TestClient, body: object, code: str) -> None:
    response = editor.patch("/v1/people/1", json=body)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert editor.get("/v1/people/1").json()["name"] is None


def test_two_people_cannot_have_one_name(editor: TestClient) -> None:
    assert editor.patch("/v1/people/1", json={"name": "Rosa"}).status_code == 200
    response = editor.patch("/v1/people/2", json={"name": "rosa"})
    assert (response.status_code, response.json()["code"]) == (422, "usage")


def test_merge_split_move_and_undo(editor: TestClient) -> None:
    assert people(editor) == {1: 2, 2: 2}
    merged = editor.post("/v1/people/merge", json={"people": [2, 1]}).json()
    assert (merged["person_id"], merged["faces"], people(editor)) == (2, 4, {2: 4})
    assert editor.post("/v1/people/undo").json() == {"action": "merge"}
    assert people(editor) == {1: 2, 2: 2}

    faces = editor.get("/v1/people/1/faces").json()["faces"]
    split = editor.post("/v1/people/1/split", json={"faces": [faces[0]["face_id"]]}).json()
    assert people(editor) == {1: 1, 2: 2, split["person_id"]: 1}
    assert split["cover_face_id"] == faces[0]["face_id"]

    body = {"faces": [faces[0]["face_id"]], "person_id": 2}
    assert editor.post("/v1/people/move", json=body).json()["faces"] == 3
    assert people(editor) == {1: 1, 2: 3}
    alone = editor.post("/v1/people/move", json={**body, "person_id": None}).json()
    assert alone["person_id"] not in (1, 2)
    assert editor.get(f"/v1/faces/{faces[0]['face_id']}").json()["confirmed"] is True


def test_two_people_are_kept_apart(editor: TestClient) -> None:
    asked = editor.get("/v1/people/review").json()["questions"]
    kept = editor.post("/v1/people/apart", json={"one": 1, "other": 2}).json()["faces"]
    owners = [editor.get(f"/v1/faces/{face_id}").json()["person_id"] for face_id in kept]
    assert owners == [1, 2]
    assert editor.post("/v1/people/undo").json() == {"action": "apart"}
    assert editor.get("/v1/people/review").json()["questions"] == asked


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/people/99", {"name": "x"}),
        ("POST", "/v1/people/99/split", {"faces": [1]}),
        ("POST", "/v1/people/merge", {"people": [1, 99]}),
        ("POST", "/v1/people/move", {"faces": [1], "person_id": 99}),
        ("POST", "/v1/people/apart", {"one": 1, "other": 99}),
    ],
)
def test_nobody_is_made_up(editor: TestClient, method: str, path: str, body: object) -> None:
    response = editor.request(method, path, json=body)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert people(editor) == {1: 2, 2: 2}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/people/merge", {"people": [1, 1]}),
        ("/v1/people/merge", {"people": [1]}),
        ("/v1/people/1/split", {"faces": []}),
        ("/v1/people/1/split", {"faces": [99]}),
        ("/v1/people/move", {"faces": [99], "person_id": 1}),
        ("/v1/people/move", {"faces": [1]}),
        ("/v1/people/apart", {"one": 1, "other": 1}),
        ("/v1/people/move", {"faces": [1 << 63], "person_id": 1}),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(
    editor: TestClient, path: str, body: object
) -> None:
    response = editor.post(path, json=body)
    assert response.status_code == 422
    assert response.json()["code"] in ("usage", "validation")
    assert people(editor) == {1: 2, 2: 2}


def test_when_nothing_is_left_to_undo_it_says_so(editor: TestClient) -> None:
    assert editor.post("/v1/people/undo").json() == {"action": "cluster"}
    assert editor.post("/v1/people/undo").json() == {"action": None}
    assert editor.get("/v1/status").json()["undo"] is None


def test_an_edit_waits_for_no_writer(index: Path, editor: TestClient) -> None:
    with FolderStore(index, writable=True):
        response = editor.patch("/v1/people/1", json={"name": "Rosa"})
        assert (response.status_code, response.json()["code"]) == (409, "index_locked")
        assert "is being written by" in response.json()["detail"]
    assert editor.patch("/v1/people/1", json={"name": "Rosa"}).status_code == 200


# Jobs


def test_new_faces_are_grouped_by_a_job(index: Path, photos: Path, editor: TestClient) -> None:
    (photos / "more.png").write_bytes(fake_photo([RED]))
    with FolderStore(index, writable=True) as store:
        ingest(store, photos)
    assert people(editor) == {1: 2, 2: 2}
    started = editor.post("/v1/people/cluster", json={})
    assert (started.status_code, started.json()["state"]) == (202, "running")
    job = finished(editor, started.json()["job_id"])
    assert (job["state"], job["problem"]) == ("done", None)
    assert isinstance(job["result"], dict)
    assert (job["result"]["people"], job["result"]["faces_joined"]) == (2, 1)
    assert people(editor) == {1: 3, 2: 2}
    again = editor.post("/v1/people/cluster", json={"full": True}).json()
    assert finished(editor, again["job_id"])["state"] == "done"


def test_a_job_that_cannot_be_done_says_why(index: Path, editor: TestClient) -> None:
    with FolderStore(index, writable=True):
        job_id = editor.post("/v1/people/cluster", json={}).json()["job_id"]
        job = finished(editor, job_id)
    assert job["state"] == "failed"
    assert isinstance(job["problem"], dict)
    assert (job["problem"]["status"], job["problem"]["code"]) == (409, "index_locked")


def test_one_job_runs_at_a_time_and_ends_with_the_server(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STATEMENT", "import time; time.sleep(600)")
    with client_of(app_of(index, edit=True)) as client:
        job_id = client.post("/v1/people/cluster", json={}).json()["job_id"]
        second = client.post("/v1/people/cluster", json={})
        assert (second.status_code, second.json()["code"]) == (409, "job_running")
        assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "running"
        process = service_of(client)._jobs._process
        assert process is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_job_whose_process_ends_has_failed(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "STATEMENT", "raise SystemExit(3)")
    with client_of(app_of(index, edit=True)) as client:
        job = finished(client, client.post("/v1/people/cluster", json={}).json()["job_id"])
        assert job["state"] == "failed"
        assert isinstance(job["problem"], dict)
        assert job["problem"]["code"] == "job_ended"
        monkeypatch.undo()
        again = client.post("/v1/people/cluster", json={}).json()
        assert finished(client, again["job_id"])["state"] == "done"
