"""Checks of the environment: what is missing, what conflicts, and how to fix it.

Each check is a function that returns one `Check`.  None prints, and a check that raises an
exception becomes a problem like any other.  What is known here of the files of an index is behind
`index_checks`.
"""

import os
import platform
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

from facesim_index.config import CATALOG_NAME, default_index, models_folder
from facesim_index.errors import FacesimError
from facesim_index.models.resolution import list_packs, verify
from facesim_index.utils.permissions import open_to_others
from facesim_index.utils.threads import usable_cores

OLDEST_PYTHON = (3, 11)
OLDEST_SQLITE = (3, 35, 0)  # RETURNING
_LOW_DISK_BYTES = 1 << 30
_NO_DISK_BYTES = 100 << 20

# Distributions that write the same folder: exactly one of each may be installed.  The first that
# is found is kept: somebody chose it, while insightface brings the last one in by itself.
RUNTIMES = ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime")
OPENCVS = (
    *("opencv-python-headless", "opencv-contrib-python-headless"),
    *("opencv-contrib-python", "opencv-python"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check of the environment.

    Attributes
    ----------
    name : str
        What was checked; scripts may rely on it.
    status : {"ok", "warning", "problem"}
        With a *problem* facesim does not work; with a *warning* it works less well.
    message : str
        What was found, for people.
    mend : str
        What to do; empty when the status is ok.
    """

    name: str
    status: Literal["ok", "warning", "problem"]
    message: str
    mend: str = ""


def examine(index: Path | None = None) -> tuple[Check, ...]:
    """Check everything that facesim needs.

    Parameters
    ----------
    index : Path or None, default=None
        Where the index is or will be; None is the default index.  A small temporary folder is
        made there for a moment.

    Returns
    -------
    tuple of Check
        Always the same names in the same order.
    """
    folder = default_index() if index is None else index
    environment: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", check_python),
        ("cores", check_cores),
        ("onnxruntime", check_runtimes),
        ("opencv", lambda: check_distributions("opencv", OPENCVS, installed())),
        ("cv2", lambda: check_import("cv2", f"python -m pip install --no-deps {OPENCVS[0]}")),
        ("faiss", lambda: check_import("faiss", "python -m pip install faiss-cpu")),
        ("insightface", lambda: check_import("insightface", "python -m pip install insightface")),
        ("provider", check_provider),
        ("card", check_card),
        ("openvino", check_openvino),
        ("model", check_model),
        ("packs", check_packs),
        ("sqlite", lambda: check_sqlite(sqlite3.sqlite_version_info)),
    )
    return (
        *(guarded(name, check) for name, check in environment),
        *index_checks(folder),
        guarded("disk", lambda: check_disk(folder)),
        guarded("pictures", check_pictures),
    )


def index_checks(folder: Path) -> tuple[Check, ...]:
    """Check the folder of an index, and the index in it when there is one.

    Parameters
    ----------
    folder : Path
        Need not exist.  A small temporary folder is made at its place for a moment.

    Returns
    -------
    tuple of Check
        ``index folder``, ``privacy`` and ``engine``, in this order.
    """
    return (
        guarded("index folder", lambda: check_folder(folder)),
        guarded("privacy", lambda: check_privacy(folder)),
        guarded("engine", lambda: check_engine(folder)),
    )


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an exception that it raises becomes a problem.

    Parameters
    ----------
    name : str
        Of the check.
    check : callable
        Takes nothing and returns a `Check`.

    Returns
    -------
    Check
        What `check` returned, or a problem with the message of the exception.
    """
    try:
        # A library that greets on import must not spoil the caller's output.
        with redirect_stdout(sys.stderr):
            return check()
    except Exception as error:
        return Check(
            name,
            "problem",
            f"could not be checked: {type(error).__name__}: {error}",
            "Mend the problems above first; if it stays, report it with this message.",
        )


def installed() -> Mapping[str, str]:
    """Return the installed distributions.

    Returns
    -------
    mapping of str to str
        Normalised name to version.
    """
    return {
        re.sub(r"[-_.]+", "-", distribution.name).lower(): distribution.version
        for distribution in metadata.distributions()
        if distribution.name  # None for what a broken uninstall leaves.
    }


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Check the version of Python.

    Parameters
    ----------
    version : tuple of (int, int), default=this one

    Returns
    -------
    Check
    """
    text = f"Python {version[0]}.{version[1]} on {platform.system()} {platform.machine()}"
    if version >= OLDEST_PYTHON:
        return Check("python", "ok", text)
    mend = f"Install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer."
    return Check("python", "problem", text, mend)


def check_cores() -> Check:
    """Report how many cores this process may use.

    Returns
    -------
    Check
    """
    return Check("cores", "ok", f"{usable_cores()} of {os.cpu_count()} usable")


def check_distributions(name: str, rivals: tuple[str, ...], versions: Mapping[str, str]) -> Check:
    """Check that exactly one of the distributions that overwrite each other is there.

    Parameters
    ----------
    name : str
        Of the check.
    rivals : tuple of str
        The one to keep first.
    versions : mapping of str to str
        Installed distributions with their versions.

    Returns
    -------
    Check
    """
    found = [rival for rival in rivals if rival in versions]
    text = ", ".join(f"{rival} {versions[rival]}" for rival in found)
    if len(found) == 1:
        return Check(name, "ok", text)
    if not found:
        mend = f"python -m pip install {name if name in rivals else rivals[0]}"
        return Check(name, "problem", f"none of {', '.join(rivals)} is installed", mend)
    # All are removed, because removing one takes files of the other.  Without --no-deps pip would
    # bring back the rival, which insightface asks for.
    keep = f"{found[0]}=={versions[found[0]]}"
    return Check(
        name,
        "problem",
        f"{text} are installed together; they overwrite each other's files",
        f"python -m pip uninstall -y {' '.join(found)} && python -m pip install --no-deps {keep}",
    )


def check_import(module: str, mend: str) -> Check:
    """Check that a library can be imported, which also loads its native code.

    Parameters
    ----------
    module : str
        Name by which it is imported.
    mend : str
        What to do when it cannot be imported.

    Returns
    -------
    Check
    """
    try:
        version = getattr(import_module(module), "__version__", "of unknown version")
    except (ImportError, OSError) as error:
        return Check(module, "problem", f"{module} cannot be imported: {error}", mend)
    return Check(module, "ok", f"{module} {version}")


def check_runtimes() -> Check:
    """Check that the ONNX Runtime that is imported is the one that was chosen.

    Returns
    -------
    Check
    """
    versions = installed()
    check = check_distributions("onnxruntime", RUNTIMES, versions)
    found = [rival for rival in RUNTIMES if rival in versions]
    if len(found) < 2:
        return check
    from facesim_index.engine.runtimes.probe import imported_runtime

    # Images of distributions often have two; what counts is which one wrote its files last.
    if imported_runtime() != found[0]:
        return check
    return Check("onnxruntime", "ok", f"{check.message}; {found[0]} is the one that is imported")


def check_provider() -> Check:
    """Find out on what the models run unless something else is asked for.

    Returns
    -------
    Check
    """
    from facesim_index.engine.runtimes.probe import probe_provider

    return Check("provider", "ok", probe_provider("auto"))


def check_card() -> Check:
    """Tell which cards there are, and what is missing where they cannot be used.

    Returns
    -------
    Check
    """
    from facesim_index.engine.runtimes.probe import card_report

    report = card_report()
    if not report.cards:
        return Check("card", "ok", "no NVIDIA card, or no driver for one; none is needed")
    text = f"{', '.join(report.cards)}, with a driver for CUDA {report.driver}"
    if not report.obstacle:
        return Check("card", "ok", f"{text}; ingest --provider cuda uses it")
    missing = f" ({', '.join(report.missing)})" if report.missing else ""
    # Without its own build of the runtime no library helps; installing it twice does no harm.
    return Check(
        "card",
        "warning",
        f"{text}, but {report.obstacle}{missing}",
        'python -m pip uninstall -y onnxruntime && python -m pip install --force-reinstall "'
        'onnxruntime-gpu[cuda,cudnn]"',
    )


def check_openvino() -> Check:
    """Tell whether OpenVINO, which is optional, is installed and may compute in bfloat16.

    Returns
    -------
    Check
    """
    from facesim_index.engine.runtimes.openvino_network import (
        INSTALL,
        has_native_bf16,
        openvino_obstacle,
        version,
    )

    if "openvino" not in installed():
        return Check("openvino", "ok", f"not installed; it is optional: {INSTALL}")
    if obstacle := openvino_obstacle("fp32"):
        return Check("openvino", "warning", obstacle, f"{INSTALL} --force-reinstall")
    numerics = "has bfloat16 of its own" if has_native_bf16() else "has no bfloat16: fp32 only"
    return Check("openvino", "ok", f"openvino {version()}; the processor {numerics}")


def check_model() -> Check:
    """Check the weights that are used when no model is named.

    Returns
    -------
    Check
    """
    status = verify()
    if status.files is None:
        return Check("model", "problem", status.message, status.mend)
    return Check(
        "model",
        "ok",
        f"{status.name}: detector {status.files.detector_sha256[:8]}, "
        f"recogniser {status.files.recogniser_sha256[:8]}",
    )


def check_packs() -> Check:
    """Check the other installed model packs.

    Returns
    -------
    Check
    """
    there = [pack for pack in list_packs() if pack.state != "not_installed"]
    bad = [pack for pack in there if pack.files is None and not pack.default]
    if bad:
        text = "; ".join(pack.message for pack in bad)
        return Check("packs", "warning", text, " ".join(pack.mend for pack in bad))
    names = ", ".join(pack.name for pack in there) or "none"
    return Check("packs", "ok", f"{names}; others would be in {models_folder()}")


def check_sqlite(version: tuple[int, ...]) -> Check:
    """Check the version of the SQLite library.

    Parameters
    ----------
    version : tuple of int

    Returns
    -------
    Check
    """
    text = "SQLite " + ".".join(map(str, version))
    if version >= OLDEST_SQLITE:
        return Check("sqlite", "ok", text)
    mend = f"Use a Python that is built with SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer."
    return Check("sqlite", "problem", text, mend)


def check_folder(index: Path) -> Check:
    """Check that an index can be written at a path, with SQLite's write-ahead log.

    Parameters
    ----------
    index : Path
        Need not exist.

    Returns
    -------
    Check
    """
    elsewhere = "Give the index another place, or set FACESIM_INDEX."
    if index.exists() and not index.is_dir():
        return Check("index folder", "problem", f"{index} is a file, not a folder", elsewhere)
    folder = _existing(index)
    try:
        with tempfile.TemporaryDirectory(prefix=".facesim-doctor-", dir=folder) as scratch:
            mode = _journal_mode(Path(scratch) / "probe.sqlite3")
    except (OSError, sqlite3.Error) as error:
        return Check("index folder", "problem", f"{folder} cannot be written: {error}", elsewhere)
    if mode != "wal":
        message = f"{folder} is on a file system without write-ahead logging"
        return Check("index folder", "problem", message, elsewhere)
    return Check("index folder", "ok", f"{folder} can be written")


def check_privacy(index: Path) -> Check:
    """Check that only its owner can read an index.

    Parameters
    ----------
    index : Path
        Need not exist.

    Returns
    -------
    Check
    """
    if not _holds_index(index):
        return _without_index("privacy", index)
    if found := open_to_others(index):
        text = f"others can use {len(found)} files and folders of {index}, {found[0]} among them"
        mend = f"chmod -R go= {shlex.quote(str(index))}; the next command that writes does it too."
        return Check("privacy", "warning", text, mend)
    return Check("privacy", "ok", f"only its owner can read {index}")


def check_engine(index: Path) -> Check:
    """Tell which engine the index was built with.

    Parameters
    ----------
    index : Path
        Need not exist.  Nothing in it is changed: an index of an older facesim is not upgraded.

    Returns
    -------
    Check
    """
    from facesim_index.engine.runtimes.openvino_network import openvino_obstacle
    from facesim_index.store.inspection import engine_of_index

    if not _holds_index(index):
        return _without_index("engine", index)
    try:
        identity = engine_of_index(index)
    except FacesimError as error:
        mend = "Give another index with --index, or see what it says."
        return Check("engine", "warning", str(error), mend)
    if identity is None:
        return Check("engine", "ok", f"{index} is of an older facesim; `facesim status` tells")
    built = f"{index} was built with {identity}"
    if identity.numerics == "bf16" and (obstacle := openvino_obstacle("bf16")):
        return Check("engine", "warning", f"{built}, which cannot run here", f"See: {obstacle}.")
    return Check("engine", "ok", built)


def check_disk(index: Path) -> Check:
    """Check the free disk space where the index is or will be.

    Parameters
    ----------
    index : Path
        Need not exist.

    Returns
    -------
    Check
    """
    folder = _existing(index)
    free = shutil.disk_usage(folder).free
    text = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if free >= _LOW_DISK_BYTES:
        return Check("disk", "ok", text)
    status: Literal["warning", "problem"] = "problem" if free < _NO_DISK_BYTES else "warning"
    return Check("disk", status, text, "Free some space: the vectors of a million faces take 1 GB.")


def check_pictures() -> Check:
    """Check which picture formats can be decoded.

    Returns
    -------
    Check
    """
    from PIL import features

    mend = "python -m pip install --upgrade --force-reinstall pillow pillow-heif"
    supported = set(features.get_supported())
    if not {"jpg", "zlib"} <= supported:
        return Check("pictures", "problem", "Pillow is built without JPEG or PNG", mend)
    missing = [name for name in ("webp", "avif") if name not in supported]
    try:
        import_module("pillow_heif")
    except (ImportError, OSError):
        missing.append("heif")
    if missing:
        return Check("pictures", "warning", f"no support for {', '.join(missing)}", mend)
    return Check("pictures", "ok", "JPEG, PNG, WebP, AVIF, HEIF")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _without_index(name: str, folder: Path) -> Check:
    return Check(name, "ok", f"there is no index at {folder}")


def _holds_index(folder: Path) -> bool:
    return (folder / CATALOG_NAME).is_file()


def _journal_mode(database: Path) -> str:
    """Make a database with write-ahead logging; return the kind of log that SQLite then uses."""
    with closing(sqlite3.connect(database)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("CREATE TABLE probe (x)")
        connection.commit()
    return str(mode)
