"""Groups of faces within which a calibration may fit less well: small, turned, hardly found.

Every face has one name by each of several properties.  Another property is another column of
`group_names`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import FaceRecord

StrArray = NDArray[np.str_]

SMALL_PX = 48.0
TURNED_DEG = 30.0
SURELY_FOUND = 0.7


def group_names(faces: Sequence[FaceRecord]) -> StrArray:
    """Return the groups that faces belong to.

    Parameters
    ----------
    faces : sequence of FaceRecord

    Returns
    -------
    ndarray of shape (n_faces, n_properties), str
        Names of groups in plain words; a face is in one group by each property.
    """
    return np.array([_names(face) for face in faces], dtype=np.str_).reshape(len(faces), 3)


def _names(face: FaceRecord) -> tuple[str, str, str]:
    size, yaw = face.quality.size_px, face.quality.yaw_deg
    return (
        f"faces under {SMALL_PX:.0f} px" if size < SMALL_PX else f"faces from {SMALL_PX:.0f} px",
        f"faces turned by {TURNED_DEG:.0f}° or more"
        if abs(yaw) >= TURNED_DEG
        else "faces seen from ahead",
        "faces hardly found" if face.detection < SURELY_FOUND else "faces surely found",
    )
