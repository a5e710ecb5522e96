"""No command reads, writes, removes or closes to others what an index's names lead to outside."""

import functools
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from facesim_index.calibration.document import to_json
from facesim_index.cli.main import main
from facesim_index.errors import IndexDamagedError
from facesim_index.people.sidecars import write_sidecars
from facesim_index.store.folder.snapshots import restore_snapshot, take_snapshot
from facesim_index.store.folder.store import FolderStore
from tests.coloured_people import CURVE, facesim
from tests.reliability.hostile_indexes import (
    FILES,
    IN_SEGMENTS,
    KINDS,
    SECRET,
    World,
    change_rows,
    command_lines,
    fit_for_tests,
    in_time,
    leaves,
    make_template,
    put_in_place,
    run,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, links and FIFOs")

#: Commands that use no index.
WITHOUT = ("compare", "doctor", "models install", "models list", "models verify")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    wrong = in_time(lambda: make_template(folder))
    assert not wrong, wrong
    return folder.resolve()


@pytest.fixture
def world(tmp_path: Path, template: Path) -> World:
    return World(tmp_path.resolve() / "world", template)


def walk(world: World, spoils: Mapping[str, Callable[[World], None]], refusal: str = "") -> None:
    """Run every command on an index made hostile anew each time; see that nothing got out.

    Parameters
    ----------
    world : World
    spoils : dict
        By its name, each way in which the index is made hostile.
    refusal : str
        What every command that uses the index must tell.
    """

    def walk_one(spoil: Callable[[World], None], name: str, words: list[object]) -> None:
        world.reset(spoil)
        (world.out / "own.json").write_text(to_json(CURVE))
        before = world.outside_record()
        code, told = run(world, name, words)
        at = f"{name} {words}: {told}"
        assert code in (0, 1, 2), at
        assert SECRET not in told, at
        assert world.outside_record() == before, at
        assert not world.secrets_elsewhere(), at
        if refusal and name not in WITHOUT:
            assert code, at
            assert refusal in told, at

    def work() -> None:
        fit_for_tests()
        wrong = []
        for kind, spoil in spoils.items():
            world.reset(spoil)
            assert not world.secrets_elsewhere()
            for name, lines in command_lines(world).items():
                for words in lines:
                    try:
                        walk_one(spoil, name, words)
                    except AssertionError as error:
                        told = str(error).strip().splitlines()
                        wrong.append(f"{kind}: {told[0]} … {told[-1]}")
        assert not wrong, "\n".join(wrong)

    wrong = in_time(work)
    assert not wrong, wrong


def changing(statement: str, value: str | bytes) -> Callable[[World], None]:
    """Return what changes a value in the catalog."""
    return lambda world: change_rows(world, statement, value)


def test_every_command_is_walked(world: World) -> None:
    assert sorted(command_lines(world)) == list(leaves(main))


@pytest.mark.parametrize("name", [*FILES, "segments"])
def test_nothing_at_a_name_of_ours_leads_out(world: World, name: str) -> None:
    spoils = {kind: functools.partial(put_in_place, name=name, kind=kind) for kind in KINDS}
    walk(world, spoils, f"{world.index / name} is ")


@pytest.mark.parametrize("name", IN_SEGMENTS)
def test_no_segment_leads_out(world: World, name: str) -> None:
    spoils = {kind: functools.partial(put_in_place, name=name, kind=kind) for kind in KINDS}
    walk(world, spoils)


def test_no_name_of_a_segment_leads_out(world: World) -> None:
    names: tuple[str | bytes, ...] = (
        *("../../outside/secret.txt", f"{world.outside}/segments/000001.faiss", "a/b", "", "."),
        *("x" * 300, "\x1b[31m.faiss", "\x00.faiss", b"../../outside/secret.txt"),
    )
    statement = "UPDATE segment SET name = ?"
    walk(world, {repr(name): changing(statement, name) for name in names})


def test_no_path_of_a_picture_leads_out(world: World) -> None:
    folders: tuple[str | bytes, ...] = (
        *(f"{world.photos}/../../../outside", "../outside", "", f"{world.outside}"),
        b"/\xff/../outside",
    )
    files = ("../outside/secret.txt", f"{world.outside}/x", "..", "", "x" * 300)
    spoils = {repr(path): changing("UPDATE folder SET path = ?", path) for path in folders}
    of_somebody = (
        "UPDATE file SET name = ? WHERE id = (SELECT min(file.id) FROM file "
        "JOIN face ON face.image_id = file.image_id JOIN face_person ON face_id = face.id)"
    )
    spoils |= {f"file {name!r}": changing(of_somebody, name) for name in files}
    walk(world, spoils)


def test_a_hostile_snapshot_is_not_restored(world: World) -> None:
    """What the index may not do, the snapshot that is restored may not do, either."""

    def snapshot(world: World) -> Path:
        hostile = world.folder / "hostile"
        world.index.rename(hostile)
        if not os.path.lexists(hostile / "SNAPSHOT"):
            shutil.copy(world.snapshot / "SNAPSHOT", hostile)
        return hostile

    def work() -> None:
        spoils: list[Callable[[World], None]] = [
            functools.partial(put_in_place, name=name, kind=kind)
            for name in (*FILES, "segments", *IN_SEGMENTS)
            for kind in KINDS
        ]
        spoils += [
            changing("UPDATE segment SET name = ?", name)
            for name in ("../../outside/secret.txt", f"{world.outside}/secret.txt", "", ".", "a/b")
        ]
        for spoil in spoils:
            for words in ([], ["--copy"]):
                world.reset(spoil)
                hostile = snapshot(world)
                before = world.outside_record()
                code, told = run(world, "restore", [hostile, *words])
                assert world.outside_record() == before, told
                assert not world.secrets_elsewhere(), told
                assert SECRET not in told
                assert code or world.index.exists()
                if code:
                    assert not world.index.exists(), told
                    assert not list(world.folder.glob(".*")), told

    wrong = in_time(work)
    assert not wrong, wrong


def test_a_link_to_an_index_is_its_users_own(world: World) -> None:
    world.reset(lambda world: None)
    link = world.folder / "link"
    link.symlink_to(world.index)
    for words in (["status"], ["compact"], ["people", "name", "1", "Ann"], ["verify"]):
        assert facesim(link, *words).exit_code == 0, words
    with FolderStore(link, writable=True) as store:
        assert store.check().problems == ()
    take_snapshot(link, world.out / "snap")
    world.index.chmod(0o755)
    FolderStore(link, writable=True).close()
    assert world.index.stat().st_mode & 0o777 == 0o700
    restore_snapshot(world.snapshot, link, force=True)
    assert link.is_symlink()
    assert facesim(world.index, "people", "show", "Person 1").exit_code == 0
    empty = world.folder / "empty"
    empty.mkdir()
    link.unlink()
    link.symlink_to(empty)
    restore_snapshot(world.snapshot, link)
    assert (empty / "catalog.sqlite3").is_file()


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "link to nothing"])
def test_what_lies_at_the_name_of_a_sidecar_is_left_alone(world: World, kind: str) -> None:
    world.reset(lambda world: None)
    photos = world.folder / "photos"
    shutil.copytree(world.photos, photos, ignore=shutil.ignore_patterns("*.xmp"))
    change_rows(world, "UPDATE folder SET path = ?", str(photos))
    target = photos / "001.png.xmp"
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to(world.outside / ("secret.txt" if kind == "link" else "new"))
    before = world.outside_record()

    def work() -> None:
        with FolderStore(world.index) as store:
            told = write_sidecars(store, None)
        assert told.foreign == (str(target),)
        assert told.written

    wrong = in_time(work)
    assert not wrong, wrong
    assert world.outside_record() == before
    assert os.path.lexists(target)


def test_sidecars_are_refused_before_any_is_written(world: World) -> None:
    world.reset(lambda world: None)
    change_rows(world, "UPDATE folder SET path = path || '/sub/..'")
    with FolderStore(world.index) as store, pytest.raises(IndexDamagedError, match="no ingest"):
        write_sidecars(store, world.out / "sidecars")
    assert not (world.out / "sidecars").exists()
