"""Groups of faces within which a calibration may fit less well: small, turned, of children.

Every face has one name by each of several properties.  Another property is another column of
`group_names`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesim_index.calibration.kinds import CHILD, MASKED, KindProbe
from facesim_index.records import FaceRecord, Float32Array

StrArray = NDArray[np.str_]

SMALL_PX = 48.0
TURNED_DEG = 30.0
SURELY_FOUND = 0.7


_OF_KINDS = {CHILD: ("children", "grown-ups"), MASKED: ("masked faces", "faces without a mask")}


def group_names(
    faces: Sequence[FaceRecord], embeddings: Float32Array, probe: KindProbe | None
) -> StrArray:
    """Return the groups that faces belong to.

    Parameters
    ----------
    faces : sequence of FaceRecord
    embeddings : ndarray of shape (n_faces, dimension), float32
        Unit norm.
    probe : KindProbe or None
        Tells children and masked faces; without one these groups are left out.

    Returns
    -------
    ndarray of shape (n_faces, n_properties), str
        Names of groups in plain words; a face is in one group by each property.
    """
    columns = [np.array([_names(face) for face in faces], dtype=np.str_).reshape(len(faces), 3)]
    if probe is not None:
        for kind, found in zip(probe.kinds, probe.of_kind(embeddings).T, strict=True):
            if kind in _OF_KINDS:
                inside, outside = _OF_KINDS[kind]
                columns.append(np.where(found, inside, outside)[:, None])
    return np.concatenate(columns, axis=1)


def _names(face: FaceRecord) -> tuple[str, str, str]:
    size, yaw = face.quality.size_px, face.quality.yaw_deg
    return (
        f"faces under {SMALL_PX:.0f} px" if size < SMALL_PX else f"faces from {SMALL_PX:.0f} px",
        f"faces turned by {TURNED_DEG:.0f}° or more"
        if abs(yaw) >= TURNED_DEG
        else "faces seen from ahead",
        "faces hardly found" if face.detection < SURELY_FOUND else "faces surely found",
    )
