"""Crops and pictures as they are served: reduced, upright, and gone when they are forgotten."""

import contextlib
import gc
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesim_index.records import FaceId
from facesim_index.store.folder.store import FolderStore
from facesim_index.upkeep.forgetting import forget
from tests.builders import ingest
from tests.coloured_people import BLUE, GREEN, RED
from tests.example_pictures import fake_photo
from tests.web.answers import colour_at_middle, face_ids, get, is_near
from tests.web.serving import TestClient, app_of, client_of, make_index, service_of


def test_a_face_and_its_picture(index: Path, photos: Path, client: TestClient) -> None:
    red, green = face_ids(client, "couple.png")
    face = get(client, f"/v1/faces/{green}")
    assert face["box"] == [96.0, 32.0, 32.0, 32.0]
    assert (face["face"], face["person_id"], face["confirmed"]) == (1, 2, False)
    picture = get(client, f"/v1/images/{face['image_id']}")
    assert (picture["width"], picture["height"], picture["status"]) == (160, 96, "ok")
    assert picture["paths"] == [str(photos / "couple.png")]
    assert isinstance(picture["faces"], list)
    assert [shown["face_id"] for shown in picture["faces"]] == [red, green]
    assert picture["faces"][1] == face


def test_a_crop_shows_the_face(client: TestClient) -> None:
    red, green = face_ids(client, "couple.png")
    for face_id, colour in ((red, RED), (green, GREEN)):
        response = client.get(f"/v1/faces/{face_id}/crop?side_px=96")
        assert response.headers["content-type"] == "image/jpeg"
        crop = Image.open(io.BytesIO(response.content))
        assert crop.size == (96, 96)
        assert is_near(colour_at_middle(crop), colour)


def test_a_picture_is_reduced_and_upright(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rgb = np.zeros((640, 320, 3), dtype=np.uint8)
    rgb[64:96, 32:64] = BLUE
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    Image.fromarray(np.rot90(rgb).copy()).save(photos / "turned.png", exif=exif)
    with client_of(app_of(make_index(tmp_path / "i", photos, grouped=False))) as client:
        response = client.get("/v1/images/1/picture?side_px=160")
        shown = Image.open(io.BytesIO(response.content))
        assert shown.size == (80, 160)
        assert is_near(tuple(map(int, np.asarray(shown)[20, 12])), BLUE)
        whole = client.get("/v1/images/1/picture")
    assert Image.open(io.BytesIO(whole.content)).size == (320, 640)


def test_what_is_known_is_not_sent_again(client: TestClient) -> None:
    for path in ("/v1/faces/1/crop", "/v1/images/1/picture"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["cache-control"] == "private, no-cache"
        other = client.get(f"{path}?side_px=100", headers={"If-None-Match": first.headers["etag"]})
        assert other.status_code == 200
        assert other.headers["etag"] != first.headers["etag"]


def test_crops_are_kept_within_their_bound(client: TestClient) -> None:
    service = service_of(client)
    sizes = [len(client.get(f"/v1/faces/1/crop?side_px={side}").content) for side in (64, 65, 66)]
    assert service._crops._n_bytes == sum(sizes)
    service._crops._limit_bytes = sizes[1] + sizes[2]
    last = client.get("/v1/faces/1/crop?side_px=67")
    assert last.status_code == 200
    assert 0 < service._crops._n_bytes <= sizes[1] + sizes[2]


def test_a_forgotten_face_is_gone_at_once(index: Path, client: TestClient) -> None:
    [face_id] = face_ids(client, "blue.png")
    path = f"/v1/faces/{face_id}/crop"
    etag = client.get(path).headers["etag"]
    kept = service_of(client)._crops._n_bytes
    with FolderStore(index, writable=True) as store:
        forget(store, [], [FaceId(face_id)])
    for headers in ({}, {"If-None-Match": etag}):
        response = client.get(path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert service_of(client)._crops._n_bytes < kept
    for gone in (f"/v1/faces/{face_id}", f"/v1/faces/{face_id}/matches"):
        assert get(client, gone, 404)["code"] == "not_found"


@pytest.fixture
def untidy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers not look by themselves whether the index has changed, however slow a test is."""
    monkeypatch.setattr("facesim_index.web.app._TIDY_S", 3600.0)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
def test_nothing_forgotten_is_held_until_somebody_asks(
    untidy: None, index: Path, client: TestClient
) -> None:
    [blue] = face_ids(client, "blue.png")
    for path in (f"/v1/faces/{blue}/crop", "/v1/faces/2/crop", f"/v1/faces/{blue}/matches"):
        assert client.get(path).status_code == 200
    service = service_of(client)
    with FolderStore(index, writable=True) as store:
        forget(store, [], [FaceId(blue)])
        store.compact()
    assert held_deleted_files(index)
    service.refresh()
    assert service._crops.kept("face") == {2}
    assert held_deleted_files(index) == []


def held_deleted_files(index: Path) -> list[str]:
    """Return the removed files of an index that this process still holds open."""
    gc.collect()
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            targets.append(str(descriptor.readlink()))
    return [target for target in targets if str(index) in target and "(deleted)" in target]


def test_a_file_that_changed_is_not_shown(photos: Path, client: TestClient) -> None:
    [face_id] = face_ids(client, "blue.png")
    (photos / "blue.png").write_bytes(fake_photo([RED]))
    assert get(client, f"/v1/faces/{face_id}/crop", 404)["code"] == "picture_changed"
    (photos / "blue.png").unlink()
    assert get(client, f"/v1/faces/{face_id}/crop", 404)["code"] == "picture_gone"
    image_id = get(client, f"/v1/faces/{face_id}")["image_id"]
    assert get(client, f"/v1/images/{image_id}/picture", 404)["code"] == "picture_gone"


def test_a_copy_is_shown_when_the_first_file_is_gone(
    index: Path, photos: Path, client: TestClient
) -> None:
    (photos / "z.png").write_bytes((photos / "blue.png").read_bytes())
    with FolderStore(index, writable=True) as store:
        ingest(store, photos)
    (photos / "blue.png").unlink()
    [face_id] = face_ids(client, "blue.png")
    assert client.get(f"/v1/faces/{face_id}/crop").status_code == 200


def test_names_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    name = os.fsencode(photos) + b"/\xe9.png"
    Path(os.fsdecode(name)).write_bytes(fake_photo([RED]))
    with client_of(app_of(make_index(tmp_path / "i", photos, grouped=False))) as client:
        response = client.get("/v1/faces/1")
        assert os.fsencode(response.json()["path"]) == name
        assert client.get("/v1/faces/1/crop").status_code == 200
