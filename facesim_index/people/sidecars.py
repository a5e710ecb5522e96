"""Names as XMP sidecar files: the faces of each picture as regions of the MWG's schema.

A sidecar is a file of its own (``photo.jpg.xmp``); no picture is ever written to.  Regions are
in the pixels of the picture as it is stored, before its EXIF orientation is applied [1]_.  So
boxes, which are those of the upright picture, are turned back.

A sidecar tells who is in a picture.  In a folder of their own, sidecars are for their owner
alone, as an index is.  Beside a picture, where a photo manager may run as another user, a
sidecar may be read by everybody who may read the picture, and by nobody else.

Where pictures are is what the catalog says, which may come from somebody else: a path that an
ingest would not have recorded is refused before anything is written, as it might lead out of the
folder for the sidecars.

References
----------
.. [1] Metadata Working Group, "Guidelines for Handling Image Metadata", version 2.0, 2010.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from facesim_index.errors import IndexDamagedError, StorageError
from facesim_index.records import Box, FaceRecord, ImageId
from facesim_index.store.catalog import face_rows, people_rows
from facesim_index.store.protocols import CatalogView, IndexStore
from facesim_index.utils.files import atomic_output, open_regular
from facesim_index.utils.permissions import make_folder

TOOLKIT = "facesim"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_META = "adobe:ns:meta/"
_REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
_AREA = "http://ns.adobe.com/xmp/sType/Area#"
_DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_PREFIXES = {"rdf": _RDF, "x": _META, "mwg-rs": _REGIONS, "stArea": _AREA, "stDim": _DIMENSIONS}
_ORIENTATION = 274
_SIDEWARDS = 5  # this orientation and those above swap width and height


@dataclass(frozen=True, slots=True)
class Region:
    """A named face of a picture as it is stored.

    Attributes
    ----------
    name : str
    x, y : float
        Centre, as shares of the width and the height, in [0, 1].
    w, h : float
        Size, as shares of the width and the height, in [0, 1].
    """

    name: str
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What came of writing sidecars.

    Attributes
    ----------
    written : int
        How many files were written.
    regions : int
        How many named faces they have in all.
    foreign : tuple of str
        Sidecars of other programs, which were left alone.
    missing : tuple of str
        Pictures that are not where they were at the last ingest.

    Examples
    --------
    >>> sidecars = index.people.write_sidecars(Path("sidecars"))
    >>> sidecars.written, sidecars.regions, sidecars.foreign, sidecars.missing
    (3, 3, (), ())
    """

    written: int
    regions: int
    foreign: tuple[str, ...]
    missing: tuple[str, ...]


def write_sidecars(store: IndexStore, folder: Path | None) -> Sidecars:
    """Write a sidecar for every file whose picture shows somebody with a name.

    Parameters
    ----------
    store : IndexStore
    folder : Path or None
        Where to write them, in folders as those of the pictures, for the owner alone.  None writes
        each beside its picture, for those who may read the picture.

    Returns
    -------
    Sidecars

    Raises
    ------
    IndexDamagedError
        The index names a path that no ingest records.  Nothing was written.
    StorageError
        A file could not be written.
    """
    with store.read() as view:
        pictures, sizes = _named_faces(view)
    names = [path for faces in pictures.values() for path in faces[0][0].paths]
    for name in names:
        _require_recordable(name, store.location)
    top = os.path.commonpath([str(Path(name).parent) for name in names]) if names else ""
    written = regions = 0
    foreign, missing = [], []
    for image_id, faces in pictures.items():
        for name in faces[0][0].paths:
            path = Path(name)
            beside = path if folder is None else folder / path.relative_to(top)
            target = beside.with_name(beside.name + ".xmp")
            size = _stored_size(path, sizes[image_id])
            if size is None:
                missing.append(name)
            elif os.path.lexists(target) and not _is_ours(target):
                foreign.append(str(target))
            else:
                named = [(face.box, who) for face, who in faces]
                _write(target, sidecar(named, *size), like=path if folder is None else None)
                written, regions = written + 1, regions + len(named)
    return Sidecars(written, regions, tuple(foreign), tuple(missing))


def sidecar(
    faces: Sequence[tuple[Box, str]], width_px: int, height_px: int, orientation: int
) -> bytes:
    """Return the XMP document of a picture.

    Parameters
    ----------
    faces : sequence of (Box, str)
        In pixels of the upright picture, with names.
    width_px, height_px : int
        Of the picture as it is stored.
    orientation : int
        EXIF's, from 1 to 8.

    Returns
    -------
    bytes
        UTF-8.
    """
    for prefix, uri in _PREFIXES.items():
        ElementTree.register_namespace(prefix, uri)
    meta = ElementTree.Element(f"{{{_META}}}xmpmeta", {f"{{{_META}}}xmptk": TOOLKIT})
    rdf = ElementTree.SubElement(meta, f"{{{_RDF}}}RDF")
    about = ElementTree.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    info = _structure(about, f"{{{_REGIONS}}}Regions")
    _values(
        _structure(info, f"{{{_REGIONS}}}AppliedToDimensions"),
        _DIMENSIONS,
        {"w": str(width_px), "h": str(height_px), "unit": "pixel"},
    )
    listed = ElementTree.SubElement(info, f"{{{_REGIONS}}}RegionList")
    bag = ElementTree.SubElement(listed, f"{{{_RDF}}}Bag")
    for box, name in faces:
        region = stored_region(box, name, width_px, height_px, orientation)
        item = _structure(bag, f"{{{_RDF}}}li")
        _values(item, _REGIONS, {"Name": name, "Type": "Face"})
        shares = {key: f"{getattr(region, key):.6f}" for key in ("x", "y", "w", "h")}
        area = _structure(item, f"{{{_REGIONS}}}Area")
        _values(area, _AREA, {**shares, "unit": "normalized"})
    ElementTree.indent(meta)
    text: bytes = ElementTree.tostring(meta, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def stored_region(box: Box, name: str, width_px: int, height_px: int, orientation: int) -> Region:
    """Convert a box of the upright picture to a region of the stored one, clipped to its edges.

    Parameters
    ----------
    box : Box
        In pixels of the upright picture.
    name : str
        Of the person.
    width_px, height_px : int
        Of the picture as it is stored.
    orientation : int
        EXIF's, from 1 to 8; any other counts as 1.

    Returns
    -------
    Region
    """
    sidewards = _SIDEWARDS <= orientation <= 8
    width, height = (height_px, width_px) if sidewards else (width_px, height_px)
    left, right = (min(max(x / width, 0.0), 1.0) for x in (box.x, box.x + box.w))
    upper, lower = (min(max(y / height, 0.0), 1.0) for y in (box.y, box.y + box.h))
    x, y, w, h = (left + right) / 2, (upper + lower) / 2, right - left, lower - upper
    if sidewards:
        x, y, w, h = y, x, h, w
    if orientation in (2, 3, 7, 8):
        x = 1.0 - x
    if orientation in (3, 4, 6, 7):
        y = 1.0 - y
    return Region(name, x, y, w, h)


def _named_faces(
    view: CatalogView,
) -> tuple[dict[ImageId, list[tuple[FaceRecord, str]]], dict[ImageId, tuple[int, int]]]:
    """Return the faces of people with names, and the upright sizes, by picture."""
    names = {
        row.person_id: row.name
        for row in people_rows.persons(view.transaction)
        if row.name is not None and not row.ignored
    }
    found = people_rows.assignments_of(view.transaction, names)
    records = face_rows.faces(view.transaction, found.face_ids)
    sizes = people_rows.picture_sizes(view.transaction, {face.image_id for face in records})
    pictures: dict[ImageId, list[tuple[FaceRecord, str]]] = {}
    for face, person in zip(records, found.person_ids.tolist(), strict=True):
        pictures.setdefault(face.image_id, []).append((face, names[person]))
    return pictures, sizes


def _stored_size(path: Path, upright: tuple[int, int]) -> tuple[int, int, int] | None:
    """Return width, height and orientation of a stored picture; None when it is not there.

    Pillow alone does not read HEIF.  Every reader gives its pixels upright, so the upright size is
    returned for such a picture.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - a name that no file can have is no error
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large or odd pictures: only the header is read
            with Image.open(path) as picture:
                orientation = picture.getexif().get(_ORIENTATION, 1)
                known = isinstance(orientation, int) and 1 <= orientation <= 8
                return picture.width, picture.height, orientation if known else 1
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return (*upright, 1)


def _require_recordable(name: str, index: str) -> None:
    """Refuse a path of a picture that is not absolute, or leads upwards."""
    path = Path(name)
    if not path.is_absolute() or os.pardir in path.parts or "\0" in name or not path.name:
        raise IndexDamagedError(
            f"{index} says that a picture is at {name!r}, which no ingest records and which may "
            "lead elsewhere; no sidecar is written"
        )


def _is_ours(path: Path) -> bool:
    """Tell whether a sidecar is one that we wrote; a link or a FIFO is not."""
    try:
        with open_regular(path) as handle:
            root = ElementTree.parse(handle).getroot()
    except (OSError, ElementTree.ParseError):
        return False
    return root.get(f"{{{_META}}}xmptk") == TOOLKIT


def _write(target: Path, data: bytes, *, like: Path | None) -> None:
    """Write a sidecar: for those who may read the file `like`, or for its owner alone when None."""
    try:
        _make_folders(target.parent)
    except OSError as error:
        raise StorageError(f"cannot make {target.parent}: {error.strerror or error}") from error
    with atomic_output(target, private=like is None, like=like) as handle:
        handle.write(data)


def _make_folders(folder: Path) -> None:
    """Make the folders that are not there for their owner alone; leave those that are."""
    if not folder.exists():
        _make_folders(folder.parent)
        make_folder(folder)


def _structure(parent: ElementTree.Element, tag: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {f"{{{_RDF}}}parseType": "Resource"})


def _values(parent: ElementTree.Element, space: str, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        ElementTree.SubElement(parent, f"{{{space}}}{key}").text = value
