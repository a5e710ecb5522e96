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
    # Degrees 10/11, twice 1/2, and 1/11, of which 1, 1 and 0 are genuine.
    assert found.ece == pytest.approx((1 / 11 + 2 * 0.5) / 6 + 1 / 22, abs=1e-5)
    assert found.eer == 0.0
    assert found.true_match_rates == ((0.001, 1.0),)  # 1e-4 would be only two pairs
    assert (found.data, found.n_people, found.n_genuine, found.n_impostor) == (
        "by hand", 7, 3, 20_000,
    )  # fmt: skip
