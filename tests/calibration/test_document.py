"""A calibration as JSON, written and read again."""

import json

import pytest
from hypothesis import given

from facesim_index.calibration.document import from_json, to_json
from facesim_index.calibration.record import Calibration
from facesim_index.errors import CalibrationError
from tests.calibration.made_up_curves import CURVE, EVIDENCE, curves, full_curves


@given(calibration=curves() | full_curves())
def test_json_round_trip_is_exact(calibration: Calibration) -> None:
    assert from_json(to_json(calibration)) == calibration


def test_json_is_readable() -> None:
    text = to_json(CURVE)
    assert "    [0.2, -1.0],\n" in text
    assert '"fitted_on": "2024-02-29"' in text


def test_json_keeps_texts_that_look_like_numbers() -> None:
    tricky = Calibration("[\n 1,\n 2\n]", "é[\n1,\n2\n]", '"', CURVE.knots, EVIDENCE)
    assert from_json(to_json(tricky)) == tricky


def without(text: str, *path: str) -> str:
    content = json.loads(text)
    place = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return json.dumps(content)


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


GOOD = to_json(CURVE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a calibration"),
        ('{"format": "something else"}', "not a calibration"),
        (replaced(GOOD, '"version": 4', '"version": 5'), "newer"),
        (replaced(GOOD, '"version": 4', '"version": 1'), "no format version 1"),
        (replaced(GOOD, '"version": 4', '"version": 0'), "no format version 0"),
        (replaced(GOOD, '"version": 4', '"version": true'), "whole number"),
        (without(GOOD, "version"), "whole number"),
        (without(GOOD, "method"), "exactly the keys"),
        (without(GOOD, "band"), "exactly the keys"),
        (replaced(GOOD, '"band": []', '"band": [[1, 2]]'), "band"),
        (replaced(GOOD, '"false_matches": []', '"false_matches": 3'), "pairs"),
        (without(GOOD, "evidence", "n_people"), "exactly the keys"),
        (replaced(GOOD, '"method":', '"surprise": 1, "method":'), "exactly the keys"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, NaN]"), "not JSON"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, 1e999]"), "finite"),
        (replaced(GOOD, "[0.2, -1.0]", f"[0.2, -1{'0' * 400}]"), "finite"),
        (replaced(GOOD, '"cllr": 0.03', '"cllr": 1e999'), "finite"),
        (replaced(GOOD, "[0.2, -1.0]", '[0.2, "-1.0"]'), "number"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, -1.0, 3]"), "pairs"),
        (replaced(GOOD, "[0.2, -1.0]", "[0.2, 4.0]"), "never decrease"),
        (replaced(GOOD, '"name": "test"', '"name": 3'), "text"),
        (replaced(GOOD, '"name": "test"', '"name": ""'), "name"),
        (replaced(GOOD, '"n_people": 50', '"n_people": 50.5'), "whole number"),
    ],
)  # fmt: skip
def test_json_that_is_not_as_written_is_refused(text: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        from_json(text)
