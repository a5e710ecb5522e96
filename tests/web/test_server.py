"""The command itself, as a process of its own: from its first word to its clean end."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.index import FaceIndex
from facesim_index.web.service.picture_worker import CropTask, make_cropper
from tests.builders import FAKE
from tests.example_pictures import demo_picture
from tests.web.process import children, is_gone, serving


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_ends_cleanly(
    shared_index: Path, number: signal.Signals, tmp_path: Path
) -> None:
    with serving(shared_index) as server:
        assert f"Serving {shared_index} at http://127.0.0.1:" in server.said
        picture = {"picture": (tmp_path / "a").name.encode()}
        with httpx.Client(base_url=server.address) as client:
            assert client.get("/v1/status").json()["edit"] is False
            assert client.get("/v1/faces/1/crop").status_code == 200
            assert client.post("/v1/query", files=picture).status_code == 422
        workers = children(server.process.pid)
        assert len(workers) == 2  # one cuts crops, one reads uploads
        server.process.send_signal(number)
        stdout, stderr = server.process.communicate(timeout=30)
        assert stdout == ""
        assert "Traceback" not in stderr
        assert server.process.returncode == (0 if number == signal.SIGINT else -signal.SIGTERM)
        assert all(is_gone(pid) for pid in workers)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_no_worker_outlives_a_server_that_is_killed(shared_index: Path) -> None:
    with serving(shared_index) as server:
        assert httpx.get(f"{server.address}v1/faces/1/crop").status_code == 200
        workers = children(server.process.pid)
        assert workers
        server.process.kill()
        server.process.communicate()
        assert all(is_gone(pid) for pid in workers)


def test_a_generated_token_is_shown_once(shared_index: Path) -> None:
    with serving(shared_index, "--generate-token") as server:
        [token] = re.findall(r"^Token: (\S{20,})$", server.said, re.M)
        assert httpx.get(f"{server.address}v1/status").status_code == 401
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{server.address}v1/status", headers=bearer).status_code == 200
        server.process.send_signal(signal.SIGINT)
        _, later = server.process.communicate(timeout=30)
        assert token not in later


def test_what_it_says_of_requests_goes_to_stderr(shared_index: Path) -> None:
    with serving(shared_index) as server:
        assert httpx.get(f"{server.address}v1/faces/1/matches").status_code == 200
        server.process.send_signal(signal.SIGINT)
        stdout, stderr = server.process.communicate(timeout=30)
    assert (stdout, "GET" in stderr) == ("", False)


def test_a_port_that_is_taken_is_told_of(shared_index: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run(shared_index, "--port", port)
    assert result.exit_code == 1
    assert f"cannot listen at 127.0.0.1 port {port}" in result.stderr
    assert "--port" in result.stderr


def run(index: Path, *words: str) -> Result:
    return CliRunner().invoke(
        main,
        ["--index", str(index), "serve", *words],
        obj=State(engine=FAKE),
        catch_exceptions=False,
    )


def test_no_index_is_told_of(tmp_path: Path) -> None:
    result = run(tmp_path / "none", "--port", "0")
    assert result.exit_code == 1
    assert "is not a facesim index" in result.stderr


def test_without_its_packages_it_says_what_to_install(
    shared_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def find_but_one(name: str, package: str | None = None) -> object:
        return None if name == "fastapi" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_but_one)
    result = run(shared_index)
    assert result.exit_code == 2
    assert "facesim-index[serve]" in result.stderr
    assert "fastapi is missing" in result.stderr


def test_two_ways_to_a_token_are_wrong_usage(shared_index: Path) -> None:
    result = run(shared_index, "--token", "x" * 20, "--generate-token")
    assert result.exit_code == 2


def test_real_faces_are_found_by_upload(tmp_path: Path) -> None:
    """With the real engine, in workers: none is loaded into the server."""
    index = tmp_path / "real.facesim"
    with FaceIndex.open(index, create=True) as opened:
        opened.ingest([demo_picture("players.jpg")], workers=1)
    portrait = demo_picture("yaoming.jpg").read_bytes()
    with serving(index, real=True) as server:
        response = httpx.post(
            f"{server.address}v1/query?pictures=true",
            files={"picture": ("someone.jpg", portrait)},
            data={"top": "2"},
            timeout=120,
        )
        assert response.status_code == 200, response.text
        [face] = response.json()["faces"]
        assert face["matches"][0]["degree"] > 0.9 > face["matches"][1]["degree"]
        assert face["crop"].startswith("data:image/jpeg;base64,")
        matched = face["matches"][0]["face_id"]
        crop = httpx.get(f"{server.address}v1/faces/{matched}/crop?side_px=256")
        assert crop.headers["content-type"] == "image/jpeg"
        maps = Path(f"/proc/{server.process.pid}/maps")
        if maps.exists():
            assert "onnxruntime" not in maps.read_text()


def test_a_crop_worker_needs_no_engine(shared_index: Path) -> None:
    cut = make_cropper()
    failure = cut(CropTask((os.devnull, "/nowhere"), b"x" * 32, 64))
    assert getattr(failure, "code", None) == "lost"
    probe = "import sys, facesim_index.web.service.picture_worker; print('fastapi' in sys.modules)"
    words = [sys.executable, "-c", probe]
    result = subprocess.run(words, check=True, capture_output=True, text=True)
    assert result.stdout == "False\n"
