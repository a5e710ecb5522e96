"""A served index for tests: made with the fake engine, asked without a socket."""

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fastapi import FastAPI

from facesim_index.people.grouping import cluster_people
from facesim_index.records import UInt8Array
from facesim_index.web.app import create_app
from facesim_index.web.guard.limits import Limits
from facesim_index.web.guard.security import loopback_hosts
from facesim_index.web.service.service import Service
from tests.builders import FAKE, ingest, new_store
from tests.coloured_people import BLUE, DARK_GREEN, DARK_RED, GREEN, RED, facesim, put_curve
from tests.example_pictures import fake_photo

with warnings.catch_warnings():  # it would rather use another HTTP client than ours
    warnings.filterwarnings("ignore", message="Using `httpx` with")
    from starlette.testclient import TestClient as TestClient

ADDRESS = "http://127.0.0.1:8321"
TIGHT = Limits(upload_bytes=2_000_000, upload_pixels=1_000_000, picture_s=20.0, wait_s=20.0)


def make_photos(folder: Path) -> Path:
    """Make photos of a red and a green person with two faces each, a blue one, and none."""
    folder.mkdir()
    (folder / "blue.png").write_bytes(fake_photo([BLUE]))
    (folder / "couple.png").write_bytes(fake_photo([RED, GREEN]))
    (folder / "green.png").write_bytes(fake_photo([DARK_GREEN]))
    (folder / "red.png").write_bytes(fake_photo([DARK_RED]))
    for name in ("broken", "damaged", "empty"):
        (folder / f"{name}.jpg").write_bytes(b"" if name == "empty" else name.encode())
    return folder


def make_index(folder: Path, photos: Path, *, grouped: bool = True) -> Path:
    """Make an index of photos, with degrees, and with its faces grouped into people."""
    with new_store(folder) as store:
        ingest(store, photos)
        put_curve(store)
        if grouped:
            cluster_people(store)
    return folder


def app_of(
    index: Path, *, edit: bool = False, token: str | None = None, limits: Limits = TIGHT
) -> FastAPI:
    """Return the application over an index."""
    return create_app(
        index, edit=edit, token=token, hosts=loopback_hosts(), engine=FAKE, limits=limits
    )


@contextlib.contextmanager
def client_of(app: FastAPI) -> Iterator[TestClient]:
    """Give a client of an application, which is stopped at the end."""
    with TestClient(app, ADDRESS, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def service_of(client: TestClient) -> Service:
    """Return the service behind a client."""
    app = client.app
    assert isinstance(app, FastAPI)
    service = app.state.service
    assert isinstance(service, Service)
    return service


def told(index: Path, *words: object) -> object:
    """Return the JSON that a command writes."""
    result = facesim(index, *words)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def noise(width_px: int, height_px: int) -> UInt8Array:
    """Return a picture that no format makes small."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
