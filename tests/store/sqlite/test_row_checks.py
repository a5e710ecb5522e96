"""A row's checksum tells of one wrong byte, and which it was."""

import pytest

from facesim_index.store.sqlite.row_checks import Value, row_check
from facesim_index.store.sqlite.row_repair import former_values


@pytest.mark.parametrize(
    "values",
    [
        (7, "/photos/ü.jpg", 2.5, b"\x00\x01", None),
        (1, "a", -3.0, b"", None),
        (300, "\udcff", 1e-9, b"abc", 2**40),
    ],
)
def test_a_row_with_one_wrong_byte_is_told_by_its_checksum(values: tuple[Value, ...]) -> None:
    check = row_check(*values)
    number, text, real, blob, last = values
    assert isinstance(number, int)
    assert isinstance(text, str)
    assert isinstance(real, float)
    for damaged in (
        (number ^ 4, text, real, blob, last),
        (number, "#" + text[1:], real, blob, last),
        (number, text, real * 2.0, blob, last),
    ):
        assert row_check(*damaged) != check
        assert former_values(damaged, check) == list(values)
    assert former_values((number ^ 4, "#" + text[1:], real, blob, last), check) is None


def test_a_checksum_is_the_same_everywhere() -> None:
    assert row_check(1, "é", 0.5, b"x", None).hex() == "422251ee7ff0286b"
