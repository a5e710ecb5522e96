"""Questions to a served index, and what is in the answers."""

import base64
import io

import numpy as np
from PIL import Image

from tests.web.serving import TestClient


def get(client: TestClient, path: str, status: int = 200) -> dict[str, object]:
    response = client.get(path)
    assert response.status_code == status, response.text
    document = response.json()
    assert isinstance(document, dict)
    return document


def matches_of(document: dict[str, object]) -> list[object]:
    faces = document["faces"]
    assert isinstance(faces, list)
    [face] = faces
    matches: list[object] = face["matches"]
    return matches


def decoded(url: object) -> Image.Image:
    kind, _, data = str(url).partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def colour_at_middle(image: Image.Image) -> tuple[int, ...]:
    pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    height, width = pixels.shape[:2]
    return tuple(
        pixels[height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8]
        .mean(axis=(0, 1))
        .astype(int)
        .tolist()
    )


def is_near(colour: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 30 for one, other in zip(colour, expected, strict=True))


def face_ids(client: TestClient, name: str) -> list[int]:
    """Return the faces of a photo of the index, left to right."""
    for image_id in range(1, 20):
        response = client.get(f"/v1/images/{image_id}")
        if response.status_code == 200 and response.json()["path"].endswith(name):
            return [face["face_id"] for face in response.json()["faces"]]
    raise AssertionError(f"no picture {name}")
