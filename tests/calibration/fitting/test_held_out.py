"""How a curve is checked on what it was not fitted on."""

import math

import numpy as np
import pytest

from facesim_index.calibration.fitting.held_out import check_curve
from tests.calibration.made_up_curves import curve_of


def test_check_curve_by_hand() -> None:
    calibration = curve_of((0.0, -1.0), (1.0, 1.0))
    genuine, impostor = np.array([1.0, 0.5, 0.5]), np.full(20_000, 0.0)
    found = check_curve(calibration, genuine, impostor, data="by hand", n_people=7)
    genuine_bits = (math.log2(1 + 1 / 10) + 2 * math.log2(1 + 1)) / 3
    assert found.cllr == pytest.approx((genuine_bits + math.log2(1.1)) / 2, abs=1e-5)
    assert found.min_cllr == 0.0
    # Degrees 1/11, 1/2 and 10/11, of masses 1/2, 1/3 and 1/6, of which 0, 1 and 1 are genuine.
    # The bin in the middle holds 1/30 of each of the first two, whose errors cancel out in part.
    apart = (1 / 2 - 1 / 30) / 11 + (1 / 3 - 1 / 30) / 2 + 1 / 6 / 11
    assert found.ece == pytest.approx(apart + (1 / 2 - 1 / 11) / 30, abs=1e-5)
    assert found.eer == 0.0
    assert found.true_match_rates == ((0.001, 1.0),)  # 1e-4 would be only two pairs
    assert (found.data, found.n_people, found.n_genuine, found.n_impostor) == (
        "by hand", 7, 3, 20_000,
    )  # fmt: skip
