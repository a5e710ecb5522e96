"""A picture's format is told by its content, and so is its end."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesim_index.pictures.formats import is_cut_off, recognise
from tests.pictures.encoding import FORMATS, SMALL
from tests.property_tests import examples


@examples(300)
@given(st.sampled_from(FORMATS), st.binary(max_size=400))
def test_the_question_of_the_end_is_always_answered(kind: str, noise: bytes) -> None:
    data = SMALL[kind]
    recognised = recognise(data)
    assert recognised == kind
    assert not is_cut_off(recognised, data)
    assert isinstance(is_cut_off(recognised, data[:20] + noise), bool)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ([b"avif", b"mif1"], "AVIF"),
        ([b"mif1", b"avif"], "AVIF"),
        ([b"mif1", b"heic"], "HEIF"),
        ([b"mif1", b"miaf"], "HEIF"),
        ([b"heic", b"avif"], "HEIF"),
        ([b"qt  ", b"mp42"], None),
    ],
)
def test_brands(brands: list[bytes], kind: str | None) -> None:
    major, *others = brands
    box = b"ftyp" + major + bytes(4) + b"".join(others)
    assert recognise(struct.pack(">I", len(box) + 4) + box + b"junkavifheic") == kind
