"""Fit what makes dlib's embeddings comparable by their cosines, on faces of LFW.

    python tools/fit_dlib_balance.py DATA_FOLDER OUT.json --cache dlib_descriptors.npz

DATA_FOLDER is as for ``fit_shipped_calibration.py``.  Only the people of pairsDevTrain are used,
and not who is who among them, so the people of pairsDevTest stay unseen.  A new balance makes new
embeddings: indexes that were made with the shipped one could not be continued with it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facesim_index.engine.alignment import aligned_crop
from facesim_index.engine.detection import Detection, find_faces
from facesim_index.engine.dlib.balance import Balance
from facesim_index.engine.dlib.resnet import DLIB_TEMPLATE, DlibResNet
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.models.registry import FREE_PACK
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import open_picture
from facesim_index.pictures.views import View
from facesim_index.records import Float32Array
from facesim_index.utils.files import atomic_output


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, help="keep the network's output in this .npz file")
    options = parser.parse_args(arguments)
    descriptors = load_or_describe(options.data_folder, options.cache)
    balance = Balance.fitted(descriptors)
    balanced = balance.applied(descriptors)
    balanced /= np.linalg.norm(balanced, axis=1, keepdims=True)
    cosines = (balanced @ balanced.T)[np.triu_indices(len(balanced), 1)]
    print(
        f"{len(descriptors)} faces; cosines of all pairs, nearly all of strangers: "
        f"mean {cosines.mean():.3f}, standard deviation {cosines.std():.3f}"
    )
    with atomic_output(options.out) as handle:
        handle.write(balance.to_json().encode())


def load_or_describe(data_folder: Path, cache: Path | None) -> Float32Array:
    """Return the network's output for the people of pairsDevTrain, from a cache if there is one.

    Parameters
    ----------
    data_folder : Path
    cache : Path or None

    Returns
    -------
    ndarray of shape (n, 128), float32
    """
    if cache is not None and cache.exists():
        with np.load(cache) as cached:
            return np.asarray(cached["descriptors"], dtype=np.float32)
    people = people_of_pairs(data_folder / "pairsDevTrain.txt")
    paths = [
        path
        for path in sorted((data_folder / "images").glob("*/*.jpg"))
        if path.parent.name in people
    ]
    descriptors = describe(paths)
    if cache is not None:
        np.savez(cache, descriptors=descriptors)
    return descriptors


def people_of_pairs(path: Path) -> set[str]:
    """Return everyone whom one of LFW's lists of pairs names.

    Parameters
    ----------
    path : Path

    Returns
    -------
    set of str
    """
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {field for line in lines for field in line.split("\t") if not field.isdecimal()}


def describe(paths: Sequence[Path]) -> Float32Array:
    """Return the network's output for the face of each picture that is nearest its centre.

    Parameters
    ----------
    paths : sequence of Path

    Returns
    -------
    ndarray of shape (n, 128), float32
        Pictures without a face are left out.
    """
    settings = EngineSettings(resolve(FREE_PACK), provider="cpu")
    detector, recogniser, _ = load_networks(settings)
    if not isinstance(recogniser, DlibResNet):
        raise SystemExit(f"{FREE_PACK} does not have dlib's network")
    rows = []
    for path in paths:
        view = open_picture(path.read_bytes()).view(1)
        found = find_faces(
            view, detector, min_score=settings.min_detection, min_face_px=settings.min_face_px
        )
        if not found:
            continue
        face = min(found, key=lambda one: distance_to_centre(one, view))
        crop = aligned_crop(
            view.rgb, face.landmarks, side_px=recogniser.crop_side_px, template=DLIB_TEMPLATE
        )
        rows.append(recogniser.descriptors([crop]))
    return np.vstack(rows)


def distance_to_centre(face: Detection, view: View) -> float:
    """Return how far the middle of a face is from the middle of its picture, in pixels.

    Parameters
    ----------
    face : Detection
    view : View

    Returns
    -------
    float
    """
    width_px, height_px = view.size_px
    across = face.box.x + face.box.w / 2 - width_px / 2
    down = face.box.y + face.box.h / 2 - height_px / 2
    return float(np.hypot(across, down))


if __name__ == "__main__":
    main()
