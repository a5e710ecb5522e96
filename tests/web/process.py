"""The server as a process of its own, for tests that look at it from outside."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = """
import sys
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from tests.builders import FAKE
main(sys.argv[1:], obj=State(engine=FAKE))
"""


@dataclass(frozen=True)
class Server:
    """A running server: its process, its address, what it has said."""

    process: subprocess.Popen[str]
    address: str
    said: str


@contextlib.contextmanager
def serving(index: Path, *words: str, real: bool = False) -> Iterator[Server]:
    """Run ``facesim serve`` at a free port; end it if the test did not, and pass on its stderr."""
    runner = ["-m", "facesim_index"] if real else ["-c", RUN]
    process = subprocess.Popen(
        [sys.executable, *runner, "--index", str(index), "serve", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    try:
        assert process.stderr is not None
        said = ""
        while (found := re.search(r"at (http://\S+)\n", said)) is None:
            line = process.stderr.readline()
            assert line, said
            said += line
        if "--generate-token" in words:
            said += process.stderr.readline()
        yield Server(process, found[1], said)
    finally:
        process.kill()
        _, rest = process.communicate()
        sys.stderr.write(rest)  # a fault of the server is explained by the trace that it wrote


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return found


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
