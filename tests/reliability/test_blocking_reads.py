"""A file system that does not answer costs the files that lie there, and nobody's patience."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from facesim_index import FaceIndex, FacesimError
from facesim_index.engine import local_reader
from facesim_index.engine.local_reader import LocalReader
from facesim_index.errors import PipelineError, UsageError
from facesim_index.ingest import folders
from facesim_index.ingest.folders import Folders, FoldersAside, FoldersHere, open_folders
from facesim_index.pictures.files import content_hash
from facesim_index.pictures.folder_walk import FoundFolder, WalkOptions
from facesim_index.records import Failure, FailureCode
from tests.builders import FAKE
from tests.example_pictures import fake_photo

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

PATIENCE_S = 120.0  # for what takes a few seconds on a machine that is not busy

# Every new Python process imports this.  Where the file FLAG exists, some functions of `os` never
# return for a path with "stuck" in it, and let no signal but SIGKILL through, as it is with a
# network disk whose server is gone.  A main thread that calls one cannot be interrupted any more.
# So many calls of each process are answered before; the file HUNG tells of the first that is not.
INTERFERENCE = """
import os, signal, time

answers = {answers}

def hanging(call):
    def asked(path=".", *rest, **named):
        global answers
        if isinstance(path, (str, os.PathLike)) and "stuck" in os.fspath(path):
            answers -= 1
            if answers < 0 and os.access({flag!r}, os.F_OK):
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                open({hung!r}, "w").close()
                while True:
                    time.sleep(3600)
        return call(path, *rest, **named)
    return asked

for name in {calls!r}:
    setattr(os, name, hanging(getattr(os, name)))
"""

INGEST = """
import signal, sys
from facesim_index.cli.main import main
from facesim_index.cli.state import State
from facesim_index.engine import local_reader
from facesim_index.ingest import folders, run
from tests.builders import FAKE

signal.signal(signal.SIGINT, signal.default_int_handler)
local_reader.PICTURE_TIMEOUT_S = {timeout_s}
run.COMMIT_INTERVAL_S = 0.2
folders._mounts_that_may_hang = lambda: frozenset({mounts!r})
main(["--index", {index!r}, "ingest", "--workers", "1", {photos!r}], obj=State(engine=FAKE))
"""


class Unanswering:
    """Lets some functions of `os` never return, in the processes that are started from now on."""

    def __init__(self, folder: Path, *calls: str, answers: int = 0) -> None:
        folder.mkdir()
        self.site = folder
        self.flag = folder / "flag"
        self.hung = folder / "hung"
        text = INTERFERENCE.format(
            flag=str(self.flag), hung=str(self.hung), calls=calls, answers=answers
        )
        (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
        self.flag.touch()

    def ingest(
        self, index: Path, photos: Path, *, timeout_s: float, mounts: Sequence[Path] = ()
    ) -> subprocess.Popen[str]:
        """Start ``facesim ingest``."""
        script = INGEST.format(
            timeout_s=timeout_s,
            mounts=[str(mount) for mount in mounts],
            index=str(index),
            photos=str(photos),
        )
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.site), *sys.path])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures before one that will be stuck, and three behind it."""
    folder = (tmp_path / "photos").resolve()
    folder.mkdir()
    for number in range(20):
        (folder / f"a{number:02d}.png").write_bytes(fake_photo([(10 * number + 20, 200, 20)]))
    (folder / "b-stuck.png").write_bytes(fake_photo([(20, 20, 250)]))
    for number in range(3):
        (folder / f"c{number}.png").write_bytes(fake_photo([(20, 10 * number + 20, 200)]))
    return folder


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


def faces_in(path: Path) -> int:
    with contextlib.suppress(FacesimError), FaceIndex.open(path, engine=FAKE) as index:
        return index.status().counts["faces"]
    return 0


def failures_in(path: Path) -> dict[str, FailureCode]:
    with FaceIndex.open(path, engine=FAKE) as index:
        return {Path(failed.path).name: failed.code for failed in index.errors()}


# Reads


def test_a_read_that_hangs_costs_its_file_alone(tmp_path: Path, photos: Path) -> None:
    index = tmp_path / "i.facesim"
    unanswering = Unanswering(tmp_path / "site", "open")
    script = unanswering.ingest(index, photos, timeout_s=1.0)
    out, err = script.communicate(timeout=PATIENCE_S)
    assert (script.returncode, "23 faces added" in out) == (0, True), err
    assert failures_in(index) == {"b-stuck.png": FailureCode.TIMEOUT}

    unanswering.flag.unlink()  # the server is back: the next run tries the file again
    script = unanswering.ingest(index, photos, timeout_s=PATIENCE_S)
    out, err = script.communicate(timeout=PATIENCE_S)
    assert (script.returncode, "1 faces added, 24 in the index" in out) == (0, True), err
    assert failures_in(index) == {}


def test_what_was_read_is_committed_although_a_read_hangs(tmp_path: Path, photos: Path) -> None:
    index = tmp_path / "i.facesim"
    script = Unanswering(tmp_path / "site", "open").ingest(index, photos, timeout_s=1000.0)
    wait_until(lambda: faces_in(index) == 16, "the pictures before are committed")
    script.send_signal(signal.SIGINT)
    _, err = script.communicate(timeout=PATIENCE_S)
    assert script.returncode == 130
    assert "Interrupted.  What was finished is committed" in err
    assert faces_in(index) == 16


def test_a_second_interrupt_ends_a_run_at_once(tmp_path: Path, photos: Path) -> None:
    index = tmp_path / "i.facesim"
    script = Unanswering(tmp_path / "site", "open").ingest(index, photos, timeout_s=1000.0)
    wait_until(lambda: faces_in(index) == 16, "the pictures before are committed")
    script.send_signal(signal.SIGINT)
    time.sleep(0.05)
    script.send_signal(signal.SIGINT)
    _, err = script.communicate(timeout=PATIENCE_S)
    # The first one may have ended the run before the second comes, which then ends Python.
    assert script.returncode in (130, -signal.SIGINT), err
    assert faces_in(index) == 16


def test_a_server_that_is_gone_ends_the_run(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Unanswering(tmp_path / "site", "open").site)
    monkeypatch.setattr(local_reader, "PICTURE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(local_reader, "MOST_LATE_IN_A_ROW", 2)
    for number in range(3):
        (photos / f"d-stuck{number}.png").write_bytes(fake_photo([(number + 20, 90, 90)]))
    with FaceIndex.open(tmp_path / "i.facesim", create=True, engine=FAKE) as index:
        with pytest.raises(PipelineError, match=r"2 files in a row .*d-stuck1.*--exclude"):
            index.ingest(photos, workers=1)
        assert index.status().counts["faces"] == 16


def test_files_are_hashed_together_and_those_that_fail_each_by_itself(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Unanswering(tmp_path / "site", "open").site)
    monkeypatch.setattr(local_reader, "PICTURE_TIMEOUT_S", 1.0)
    some = [photos / "a00.png", photos / "b-stuck.png", photos / "gone.png", photos / "c0.png"]
    groups: list[list[Path] | None] = [[photos / "a01.png"], None, some, [photos / "c1.png"]]
    first, found, last = [
        hashes for hashes in LocalReader(FAKE).hash_files(groups) if hashes is not None
    ]
    assert [first, last] == [
        [content_hash((photos / name).read_bytes())] for name in ("a01.png", "c1.png")
    ]
    assert found[0] == content_hash((photos / "a00.png").read_bytes())
    assert found[1:3] == [
        Failure(FailureCode.TIMEOUT, "its bytes could not be read: no result within 1 s"),
        Failure(FailureCode.UNREADABLE, "the file cannot be read: No such file or directory"),
    ]
    assert found[3] == content_hash((photos / "c0.png").read_bytes())


# Folders


@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_a_folder_that_hangs_lets_a_run_be_interrupted(
    tmp_path: Path, photos: Path, call: str
) -> None:
    index = tmp_path / "i.facesim"
    (photos / "stuck").mkdir()
    unanswering = Unanswering(tmp_path / "site", call)
    asked = photos if call == "scandir" else photos / "stuck"
    script = unanswering.ingest(index, asked, timeout_s=1000.0, mounts=[photos])
    wait_until(unanswering.hung.exists, "a call hangs")
    script.send_signal(signal.SIGINT)
    out, err = script.communicate(timeout=PATIENCE_S)
    assert script.returncode == 130, err
    assert "0 in the index" in out


def test_what_was_read_is_committed_although_a_folder_hangs(tmp_path: Path, photos: Path) -> None:
    index = tmp_path / "i.facesim"
    (photos / "b-stuck.png").unlink()
    (photos / "stuck").mkdir()
    unanswering = Unanswering(tmp_path / "site", "scandir", answers=1)  # the walk that counts
    script = unanswering.ingest(index, photos, timeout_s=1000.0, mounts=[photos])
    wait_until(lambda: faces_in(index) == 23, "the pictures before are committed")
    script.send_signal(signal.SIGINT)
    script.communicate(timeout=PATIENCE_S)
    assert script.returncode == 130
    assert faces_in(index) == 23


def test_another_process_finds_what_this_one_finds(tmp_path: Path, photos: Path) -> None:
    (photos / "empty").mkdir()
    (photos / "b" / "d").mkdir(parents=True)
    (photos / "b" / "d" / os.fsdecode(b"Z\xfc rich.png")).write_bytes(b"x")
    (photos / "locked").mkdir(mode=0)
    os.utime(photos / "c0.png", ns=(0, -1))
    here, aside = FoldersHere(), FoldersAside()
    options = WalkOptions(exclude=("a01*",))
    with aside:
        for root in (photos, photos / "c0.png", photos / "empty"):
            found = [step for step in aside.walk(root, options) if step is not None]
            assert found == list(here.walk(root, options))
        names: list[str | Path] = [photos, photos / "b", photos / "c0.png", str(photos)]
        assert aside.resolve(names, never) == here.resolve(names, never)
        files = [(3, photos / "gone.png"), (5, photos / "c0.png"), (8, photos / "c0.png" / "x")]
        assert aside.gone(files, never) == here.gone(files, never) == [3, 8]
        for folders in (here, aside):
            refused(folders, tmp_path)


def refused(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone cannot be ingested: No such file"):
        folders.resolve([tmp_path / "gone"], never)
    with pytest.raises(UsageError, match=r"gone\.png: No such file"):
        list(folders.walk(tmp_path / "gone.png", WalkOptions()))


def never() -> bool:
    return False


def test_very_many_files_come_over_in_order(tmp_path: Path) -> None:
    for folder in range(150):
        (tmp_path / f"{folder:03d}").mkdir()
        for number in range(3):
            (tmp_path / f"{folder:03d}" / f"{number}.jpg").touch()
    with FoldersAside() as aside:
        for _ in range(2):  # the process stays for a second walk
            found = [step for step in aside.walk(tmp_path, WalkOptions()) if step is not None]
            assert found == list(FoldersHere().walk(tmp_path, WalkOptions()))
            assert sum(len(step.files) for step in found if isinstance(step, FoundFolder)) == 450


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of which we say that it is a mount that may hang."""
    mount = tmp_path.resolve() / "nas"
    mount.mkdir()
    monkeypatch.setattr(folders, "_mounts_that_may_hang", lambda: frozenset({str(mount)}))
    return mount


@pytest.mark.parametrize(
    ("path", "aside"),
    [
        *(("nas", True), ("nas/deep/down", True), (".", True), ("link", True), ("far/b", True)),
        *(("local", False), ("nasty", False), ("nas/../local", True), ("link/../local", True)),
        *(("circle", True), ("gone", False), ("local/up/nas", True), ("local/up/local", False)),
    ],
)
def test_only_what_may_hang_is_asked_by_another_process(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch, path: str, aside: bool
) -> None:
    for name in ("local", "nasty"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("nas/b")
    (tmp_path / "far").symlink_to(remote / "a")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "local" / "up").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    with open_folders([path]) as found:
        assert isinstance(found, FoldersAside) is aside
    with open_folders([tmp_path / "local", path]) as found:
        assert isinstance(found, FoldersAside) is aside
    with open_folders(["local"], follow_symlinks=True) as found:
        assert isinstance(found, FoldersAside)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_mounts_of_this_machine_are_told_apart() -> None:
    found = folders._mounts_that_may_hang()
    assert "/proc" in found
    assert all(os.path.isabs(mount) for mount in found)  # noqa: PTH117
