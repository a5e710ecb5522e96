"""A balance makes embeddings comparable by their cosines."""

import hashlib
import importlib.resources

import numpy as np
import pytest

from facesim_index.engine.dlib.balance import SHARE_OF_MEAN, Balance, shipped_balance
from facesim_index.records import Float32Array

# A new balance makes new embeddings, which must not be compared with those that indexes hold:
# together with this hash, the identity of the engine would have to change.
SHIPPED_SHA256 = "1b3582dc4fc203e2807f7af345e81b7173ea4895f022ad733a0dea3e13867de8"


@pytest.fixture
def uneven() -> Float32Array:
    """Return embeddings on one side of the origin, spread unevenly and flat in one direction."""
    rng = np.random.default_rng(5)
    spread = np.array([0.5, 0.2, 0.1, 0.05, 0.0])
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    return np.asarray((rng.normal(size=(4000, 5)) * spread) @ turn + 1.0, dtype=np.float32)


def test_most_of_the_mean_goes_and_directions_are_evened_out(uneven: Float32Array) -> None:
    balance = Balance.fitted(uneven)
    balanced = balance.applied(uneven).astype(np.float64)
    unit = uneven / np.linalg.norm(uneven, axis=1, keepdims=True)
    assert balance.shift == pytest.approx(SHARE_OF_MEAN * unit.mean(axis=0), abs=1e-4)

    def spreads(rows: Float32Array) -> list[float]:
        return sorted(np.linalg.eigvalsh(np.cov(rows, rowvar=False)).tolist())

    before, after = spreads(unit)[-3:], spreads(np.asarray(balanced, dtype=np.float32))[-3:]
    # A spread of s is divided by the fourth root of its square: spreads become their roots.
    assert after[2] / after[0] == pytest.approx((before[2] / before[0]) ** (1 / 2), rel=0.05)


def test_only_directions_count(uneven: Float32Array) -> None:
    balance = Balance.fitted(uneven)
    assert balance.applied(3 * uneven) == pytest.approx(balance.applied(uneven), abs=1e-5)


def test_a_file_gives_the_same_balance_back(uneven: Float32Array) -> None:
    balance = Balance.fitted(uneven)
    again = Balance.from_json(balance.to_json())
    assert np.array_equal(again.shift, balance.shift)
    assert np.array_equal(again.matrix, balance.matrix)
    assert np.array_equal(again.applied(uneven), balance.applied(uneven))


def test_another_format_is_refused() -> None:
    text = Balance(np.zeros(2), np.eye(2)).to_json().replace('"format": 1', '"format": 2')
    with pytest.raises(ValueError, match="unknown format 2 of a balance"):
        Balance.from_json(text)


def test_the_shipped_balance_is_for_128_numbers_and_never_changes() -> None:
    balance = shipped_balance()
    assert balance.shift.shape == (128,)
    assert np.array_equal(balance.matrix, balance.matrix.T)
    text = importlib.resources.files("facesim_index.engine.dlib") / "balance.json"
    assert hashlib.sha256(text.read_bytes()).hexdigest() == SHIPPED_SHA256
