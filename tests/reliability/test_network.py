"""Promise 9: nothing leaves the machine, and the index keeps no picture."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facesim_index.cli.main import main
from tests.example_pictures import demo_picture, pixels
from tests.reliability.traces import traces

ROOT = Path(__file__).resolve().parents[2]


HOOK = """
import os, sys
_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def _hook(event, args):
    if event.startswith("socket."):
        os.write(_log, f"{os.getpid()} {event} {args!r}\\n".encode())
sys.addaudithook(_hook)
os.write(_log, b"%d hooked\\n" % os.getpid())
"""


@dataclass(frozen=True)
class Watched:
    """What came of a program that was watched, and what was not possible here."""

    code: int
    output: str
    hooks: list[str]
    calls: list[str] | None


def without_network() -> list[str] | None:
    """Return the command that cuts a program off from every network, if there is one here."""
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], check=False).returncode:
            continue
        return command if shutil.which("unshare") else None
    return None


def tracer(log: Path) -> list[str] | None:
    """Return the command that records the network's system calls, if there is one here."""
    command = ["strace", "-f", "-qq", "-e", "trace=%network", "-e", "signal=none", "-o", str(log)]
    if not shutil.which("strace"):
        return None
    return None if subprocess.run([*command, "true"], check=False).returncode else command


def watch(folder: Path, *program: str) -> Watched:
    """Run a Python program, without a network and traced where that can be done."""
    folder.mkdir()
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    hooks, calls = folder / "hooks.txt", folder / "calls.txt"
    trace = tracer(calls)
    done = subprocess.run(
        [*(without_network() or []), *(trace or []), sys.executable, *program],
        env={
            **os.environ,
            "AUDIT_LOG": str(hooks),
            "PYTHONPATH": os.pathsep.join([str(folder / "hook"), str(ROOT)]),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return Watched(
        done.returncode,
        done.stdout,
        hooks.read_text().splitlines(),
        calls.read_text().splitlines() if trace else None,
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The whole job, run once."""
    folder = tmp_path_factory.mktemp("job")
    script = Path(__file__).with_name("whole_job.py")
    return watch(folder / "watched", str(script), str(folder))


def test_the_whole_job_needs_no_network(job: Watched) -> None:
    if without_network() is None:
        pytest.skip("no network namespace can be made here")
    assert job.code == 0, job.output
    assert job.output.rstrip().endswith("all done")
    for word in (
        *("ingest", "query", "export matrix", "calibrate --people", "evaluate", "--secure"),
        *("people cluster", "query --person", "export people", "export sidecars"),
    ):
        assert re.search(rf"^0 .*{word}", job.output, re.MULTILINE), word


def test_the_whole_job_opens_no_socket(job: Watched) -> None:
    assert job.code == 0, job.output
    hooked = {line.split()[0] for line in job.hooks if line.endswith(" hooked")}
    assert len(hooked) >= 3, "the workers are watched, too"
    assert [line for line in job.hooks if not line.endswith(" hooked")] == []


def test_no_library_of_the_whole_job_opens_a_socket_behind_our_back(job: Watched) -> None:
    if job.calls is None:
        pytest.skip("system calls cannot be traced here: no strace, or it is not allowed")
    assert job.code == 0, job.output
    assert job.calls == []


def test_a_connection_would_have_been_noticed(tmp_path: Path) -> None:
    """The same watch over a program that does what it should not, once behind Python's back."""
    script = (
        "import ctypes, socket\n"
        "ctypes.CDLL(None).socket(2, 1, 0)\n"
        "s = socket.socket()\n"
        "s.settimeout(0.2)\n"
        "print(s.connect_ex(('127.0.0.1', 9)), s.connect_ex(('192.0.2.1', 9)))\n"
    )
    seen = watch(tmp_path / "watched", "-c", script)
    assert seen.code == 0, seen.output
    assert any("socket.__new__" in line for line in seen.hooks)
    assert any("socket.connect" in line and "192.0.2.1" in line for line in seen.hooks)
    if without_network():
        assert "0" not in seen.output.split()
    if seen.calls is not None:
        opened = [line for line in seen.calls if re.search(r"\bsocket\(AF_INET", line)]
        assert len(opened) == 2


# No picture is kept


def test_the_index_holds_no_picture_and_no_crop(tmp_path: Path) -> None:
    index, folder = tmp_path / "i.facesim", tmp_path / "photos"
    folder.mkdir()
    sources = [demo_picture("yaoming.jpg"), demo_picture("astronaut.png")]
    for source in sources:
        shutil.copy2(source, folder)
    words = ["--index", str(index), "ingest", str(folder), "--workers", "1", "--json"]
    summary = json.loads(CliRunner().invoke(main, words, catch_exceptions=False).stdout)
    assert summary["faces_added"] == 2
    needles = {"JPEG": b"\xff\xd8\xff\xe0", "JPEG, EXIF": b"\xff\xd8\xff\xe1"}
    needles |= {"PNG": b"\x89PNG\r\n", "WebP": b"WEBPVP8", "AVIF": b"ftypavif"}
    for source in sources:
        data, rgb = source.read_bytes(), pixels(source)
        middle = len(data) // 2
        row = rgb[rgb.shape[0] // 2, rgb.shape[1] // 3 :][:24]
        needles[f"bytes of {source.name}"] = data[middle : middle + 32]
        needles[f"pixels of {source.name}"] = row.tobytes()
        needles[f"BGR pixels of {source.name}"] = np.ascontiguousarray(row[:, ::-1]).tobytes()
        needles[f"grey levels of {source.name}"] = np.ascontiguousarray(row[:, 1]).tobytes()
    assert traces(index, needles) == {}
    everything = {"its name": b"astronaut.png"}
    assert traces(index, everything), "the search finds what is there"
