"""How the file system is asked which pictures there are.

A file system that does not answer, such as a network disk whose server is gone, lets nobody go who
asks it: not for Ctrl-C, and often not even for SIGKILL.  Where that may happen another process
asks, which can be left behind (`FoldersAside`).  That takes half as much processor time again, so
local disks are asked by this process (`FoldersHere`).
"""

import contextlib
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from facesim_index.errors import FacesimError, PipelineError
from facesim_index.ingest.targets import Targets, resolve_targets
from facesim_index.pictures.folder_walk import (
    FoundFolder,
    UnreadableFolder,
    WalkOptions,
    found_file,
    walk,
)
from facesim_index.utils.threads import PATIENCE_S
from facesim_index.workers.pool import ItemFailed, PoolSettings, WorkerPool

ANSWER_TIMEOUT_S = 3600.0
"""The longest time for one answer, such as the list of the files of a large folder."""

_FOLDERS_TOGETHER = 64
_FILES_TOGETHER = 16  # few, because they wait for the folder that hangs after them
_TOGETHER_S = 0.05
_ANSWERS_AHEAD = 8

#: File systems that answer, if only with an error: they need neither a server nor a program.
_ANSWERING = frozenset(
    (
        *("bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus"),
        *("iso9660", "jfs", "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "rootfs"),
        *("squashfs", "tmpfs", "udf", "vfat", "xfs", "zfs"),
    )
)
_MOST_LINKS = 1000

FolderStep = FoundFolder | UnreadableFolder | None


class Folders(Protocol):
    """How the file system is asked which files there are."""

    def resolve(
        self, paths: Sequence[str | os.PathLike[str]], should_stop: Callable[[], bool]
    ) -> Targets:
        """Return the folders and files that paths mean, as `resolve_targets` does.

        Parameters
        ----------
        paths : sequence of path-like
        should_stop : callable
            Called once a second while there is no answer.

        Returns
        -------
        Targets
            Without any folder or file when `should_stop` became true.
        """
        ...

    def walk(self, root: Path, options: WalkOptions) -> Generator[FolderStep, None, None]:
        """List the pictures in a folder and in those below it, or look at one file.

        Parameters
        ----------
        root : Path
        options : WalkOptions

        Yields
        ------
        FoundFolder, UnreadableFolder or None
            As `facesim_index.pictures.folder_walk.walk` does; None once a second while there is no
            answer.
        """
        ...

    def gone(self, files: Iterable[tuple[int, Path]], should_stop: Callable[[], bool]) -> list[int]:
        """Return those of some files that surely are not there.

        Parameters
        ----------
        files : iterable of tuple of (int, Path)
            Number and path of each.
        should_stop : callable
            Called once a second while there is no answer.

        Returns
        -------
        list of int
            Their numbers; none when `should_stop` became true.
        """
        ...


class FoldersHere:
    """Asks the file system in this process; satisfies `Folders`."""

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to end."""

    def resolve(
        self, paths: Sequence[str | os.PathLike[str]], should_stop: Callable[[], bool]
    ) -> Targets:
        """Return the folders and files that paths mean.

        Parameters
        ----------
        paths : sequence of path-like
        should_stop : callable
            Not called.

        Returns
        -------
        Targets
        """
        return resolve_targets(paths)

    def walk(self, root: Path, options: WalkOptions) -> Generator[FolderStep, None, None]:
        """List the pictures in a folder and in those below it, or look at one file.

        Parameters
        ----------
        root : Path
        options : WalkOptions

        Yields
        ------
        FoundFolder or UnreadableFolder
        """
        if root.is_dir():
            yield from walk(root, options)
        else:
            yield found_file(root)

    def gone(self, files: Iterable[tuple[int, Path]], should_stop: Callable[[], bool]) -> list[int]:
        """Return those of some files that surely are not there.

        Parameters
        ----------
        files : iterable of tuple of (int, Path)
            Number and path of each.
        should_stop : callable
            Not called.

        Returns
        -------
        list of int
            Their numbers.
        """
        return [number for number, path in files if _is_gone(path)]


@dataclass(frozen=True, slots=True)
class _Resolve:
    """Asks which folders and files paths mean."""

    paths: tuple[str | os.PathLike[str], ...]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Begins a walk, or goes on with it where `root` is None."""

    root: Path | None
    options: WalkOptions


@dataclass(frozen=True, slots=True)
class _Gone:
    """Asks which files are gone."""

    files: tuple[tuple[int, Path], ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """The next folders of a walk; none at its end."""

    folders: list[FoundFolder | UnreadableFolder]


@dataclass(frozen=True, slots=True)
class _AreGone:
    """The numbers of the files that are gone."""

    numbers: list[int]


_Question = _Resolve | _Walk | _Gone
_Answer = Targets | _Found | _AreGone | FacesimError


class FoldersAside:
    """Asks the file system in another process of this computer; satisfies `Folders`.

    The process starts with the object, and ends when its context does.

    Raises
    ------
    PipelineError
        The process cannot be started.
    """

    def __init__(self) -> None:
        bounds = PoolSettings(1, timeout_s=ANSWER_TIMEOUT_S, window=_ANSWERS_AHEAD)
        self._pool: WorkerPool[_Question, _Answer] = WorkerPool(make_explorer, None, bounds)
        self._pool.start()

    def __enter__(self) -> Self:
        """Return this object."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process, or leave it behind where it does not end."""
        self._pool.close()

    def resolve(
        self, paths: Sequence[str | os.PathLike[str]], should_stop: Callable[[], bool]
    ) -> Targets:
        """Return the folders and files that paths mean, as `resolve_targets` does.

        Parameters
        ----------
        paths : sequence of path-like
        should_stop : callable
            Called once a second while there is no answer.

        Returns
        -------
        Targets
            Without any folder or file when `should_stop` became true.

        Raises
        ------
        UsageError
            No path was given, or one does not exist.
        """
        answer = self._ask(_Resolve(tuple(paths)), should_stop)
        return answer if isinstance(answer, Targets) else Targets((), ())

    def walk(self, root: Path, options: WalkOptions) -> Generator[FolderStep, None, None]:
        """List the pictures in a folder and in those below it, or look at one file.

        Parameters
        ----------
        root : Path
        options : WalkOptions

        Yields
        ------
        FoundFolder, UnreadableFolder or None
            None once a second while there is no answer.

        Raises
        ------
        UsageError
            It is neither a folder nor a file.
        """
        ended = False

        def questions() -> Iterator[_Question]:
            yield _Walk(root, options)
            while not ended:
                yield _Walk(None, options)

        with contextlib.closing(self._answers(questions())) as answers:
            for answer in answers:  # to their end, so that the process stays for what comes next
                if isinstance(answer, _Found):
                    ended = ended or not answer.folders
                    yield from answer.folders
                else:
                    yield None

    def gone(self, files: Iterable[tuple[int, Path]], should_stop: Callable[[], bool]) -> list[int]:
        """Return those of some files that surely are not there.

        Parameters
        ----------
        files : iterable of tuple of (int, Path)
            Number and path of each.
        should_stop : callable
            Called once a second while there is no answer.

        Returns
        -------
        list of int
            Their numbers; none when `should_stop` became true.
        """
        answer = self._ask(_Gone(tuple(files)), should_stop)
        return answer.numbers if isinstance(answer, _AreGone) else []

    def _ask(self, question: _Question, should_stop: Callable[[], bool]) -> _Answer | None:
        """Return the answer to one question, None when `should_stop` became true."""
        given: _Answer | None = None
        with contextlib.closing(self._answers(iter([question]))) as answers:
            for answer in answers:  # to their end, so that the process stays for the next question
                given = answer
                if given is None and should_stop():
                    break
        return given

    def _answers(self, questions: Iterator[_Question]) -> Generator[_Answer | None, None, None]:
        """Yield the answer to each question; None for each second without one."""
        outcomes = self._pool.map_patiently(questions, patience_s=PATIENCE_S)
        with contextlib.closing(outcomes):
            for outcome in outcomes:
                if outcome is None:
                    yield None
                    continue
                _, answer = outcome
                if isinstance(answer, ItemFailed):
                    raise PipelineError(f"the file system cannot be asked: {answer.message}")
                if isinstance(answer, FacesimError):
                    raise answer
                yield answer


def make_explorer(_: None) -> Callable[[_Question], _Answer]:
    """Return what answers the questions of `FoldersAside` in its process.

    Parameters
    ----------
    _ : None
        There is nothing to set.

    Returns
    -------
    callable
    """
    here = FoldersHere()
    walking: Iterator[FolderStep] = iter(())

    def never() -> bool:
        return False

    def answer(question: _Question) -> _Answer:
        nonlocal walking
        try:
            if isinstance(question, _Resolve):
                return here.resolve(question.paths, never)
            if isinstance(question, _Gone):
                return _AreGone(here.gone(question.files, never))
            if question.root is not None:
                walking = here.walk(question.root, question.options)
            return _Found(_some_folders(walking))
        except FacesimError as error:
            return error

    return answer


def _some_folders(walking: Iterator[FolderStep]) -> list[FoundFolder | UnreadableFolder]:
    """Take the next folders of a walk: many, but not more than the other process can wait for."""
    folders: list[FoundFolder | UnreadableFolder] = []
    n_files = 0
    until = time.monotonic() + _TOGETHER_S
    for folder in itertools.islice(walking, _FOLDERS_TOGETHER):
        if folder is None:
            continue
        folders.append(folder)
        n_files += len(folder.files) if isinstance(folder, FoundFolder) else 0
        if n_files >= _FILES_TOGETHER or time.monotonic() > until:
            break
    return folders


def _is_gone(path: Path) -> bool:
    """Tell whether a file surely is not there; False when the system does not say."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def open_folders(
    paths: Iterable[str | os.PathLike[str]], *, follow_symlinks: bool = False
) -> "FoldersHere | FoldersAside":
    """Return how the file systems of some paths are asked, without asking them.

    Parameters
    ----------
    paths : iterable of path-like
    follow_symlinks : bool, default=False
        Links below the paths are followed, wherever they lead.

    Returns
    -------
    FoldersHere or FoldersAside
        A context manager.  On other systems than Linux it is not known where a path leads, and
        this process asks.
    """
    mounts = _mounts_that_may_hang()
    if not mounts:
        return FoldersHere()
    if follow_symlinks or any(_leads_to(os.fspath(path), mounts) for path in paths):
        return FoldersAside()
    return FoldersHere()


def _mounts_that_may_hang() -> frozenset[str]:
    """Return where file systems are mounted that may not answer."""
    if not sys.platform.startswith("linux"):
        return frozenset()
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return frozenset()
    found = set()
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.partition(" ")[0] not in _ANSWERING:
            place = before.split(" ")[4]
            found.add(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place))
    return frozenset(found)


def _leads_to(path: str, mounts: frozenset[str]) -> bool:
    """Tell whether a path leads into one of some mounts, or one of them lies below it.

    Links are followed step by step, but no step is taken into such a mount.
    """
    try:
        # Not made absolute otherwise: what ".." means depends on the links before it.
        whole = Path.cwd() / os.path.expanduser(path)  # noqa: PTH111
    except OSError:  # the current folder is gone, which whoever asks for the path will notice
        return False
    here, left = "/", list(whole.parts[:0:-1])
    for _ in range(_MOST_LINKS):
        if here in mounts:
            return True
        if not left:
            return any(mount.startswith(here.rstrip("/") + "/") for mount in mounts)
        here = os.path.normpath(os.path.join(here, left.pop()))  # noqa: PTH118
        if here not in mounts:
            with contextlib.suppress(OSError, ValueError):
                link = os.readlink(here)  # noqa: PTH115
                left += Path(link).parts[::-1]
                here = os.path.dirname(here)  # noqa: PTH120
    return True
