"""The index may change under the server."""

import io
import shutil
import threading
from pathlib import Path

from PIL import Image

from facesim_index.config import CATALOG_NAME
from facesim_index.store.folder.store import FolderStore
from tests.builders import ingest
from tests.coloured_people import BLUE, GREEN
from tests.example_pictures import fake_photo
from tests.web.answers import colour_at_middle, face_ids, get, is_near
from tests.web.serving import TestClient, app_of, client_of, make_index

# The index may change under the server


def test_new_commits_are_seen_at_once(index: Path, photos: Path, client: TestClient) -> None:
    assert get(client, "/v1/faces/1/matches")["faces_searched"] == 4
    (photos / "more.png").write_bytes(fake_photo([BLUE, GREEN]))
    with FolderStore(index, writable=True) as store:
        ingest(store, photos)
    assert get(client, "/v1/faces/1/matches")["faces_searched"] == 6
    assert len(face_ids(client, "more.png")) == 2


def test_an_index_that_is_gone_is_told_of_and_may_come_back(
    index: Path, tmp_path: Path, client: TestClient
) -> None:
    before = get(client, "/v1/faces/1")
    index.rename(tmp_path / "elsewhere")
    problem = get(client, "/v1/faces/1", 503)
    assert problem["code"] == "index_not_found"
    assert str(index) in str(problem["detail"])
    (tmp_path / "elsewhere").rename(index)
    assert get(client, "/v1/faces/1") == before


def test_another_index_in_its_place_is_answered_from(
    index: Path, tmp_path: Path, client: TestClient
) -> None:
    [blue] = face_ids(client, "blue.png")
    first = client.get(f"/v1/faces/{blue}/crop")
    photos = tmp_path / "others"
    photos.mkdir()
    (photos / "only.png").write_bytes(fake_photo([GREEN]))
    other = make_index(tmp_path / "other.facesim", photos, grouped=False)
    shutil.move(index, tmp_path / "old.facesim")
    shutil.move(other, index)
    assert get(client, "/v1/status")["counts"]["faces"] == 1  # type: ignore[index]
    assert blue == 1
    crop = client.get("/v1/faces/1/crop", headers={"If-None-Match": first.headers["etag"]})
    assert crop.status_code == 200
    assert is_near(colour_at_middle(Image.open(io.BytesIO(crop.content))), GREEN)


def test_a_damaged_index_is_told_of(index: Path, tmp_path: Path) -> None:
    [segment] = (index / "segments").glob("*.faiss")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0xFF
    segment.write_bytes(content)
    with client_of(app_of(index)) as client:
        document = get(client, "/v1/faces/1/matches", 503)
        assert document["code"] == "index_damaged"
        assert "facesim verify --repair" in str(document["detail"])
        assert get(client, "/v1/faces/1")["face_id"] == 1


def test_a_catalog_that_is_none_is_told_of(index: Path, client: TestClient) -> None:
    (index / CATALOG_NAME).unlink()
    (index / CATALOG_NAME).write_bytes(b"no catalog" * 1000)
    for suffix in ("-wal", "-shm"):
        (index / f"{CATALOG_NAME}{suffix}").unlink(missing_ok=True)
    assert get(client, "/v1/status", 503)["code"] == "index_damaged"


def test_an_index_that_a_newer_version_upgraded_is_told_of(index: Path, client: TestClient) -> None:
    assert get(client, "/v1/faces/1")["face_id"] == 1
    with FolderStore(index, writable=True) as store, store.catalog.write() as transaction:
        transaction.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        transaction.exec_driver_sql("ALTER TABLE face RENAME TO face_of_the_future")
    problem = get(client, "/v1/faces/1", 503)
    assert problem["code"] == "index_version"
    assert "newer facesim" in str(problem["detail"])


def test_many_ask_at_once_while_faces_come_in(
    index: Path, photos: Path, client: TestClient
) -> None:
    expected = get(client, "/v1/faces/2/matches?top=1&prior=0.1")["faces"]
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            for path in ("/v1/faces/2/matches?top=1&prior=0.1", "/v1/people", "/v1/faces/2/crop"):
                response = client.get(path)
                differs = "matches" in path and response.json().get("faces") != expected
                if response.status_code != 200 or differs:
                    wrong.append(response.text)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(12):
        (photos / f"new{number}.png").write_bytes(fake_photo([(20 + 16 * number, 120, 200)]))
        with FolderStore(index, writable=True) as store:
            ingest(store, photos)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert get(client, "/v1/faces/1/matches")["faces_searched"] == 4 + 12
