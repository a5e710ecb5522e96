from pathlib import Path

import numpy as np
import pytest

from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees import verdicts
from facesim_index.degrees.verdicts import refresh_estimates, stored_verdict
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.store.catalog import writing
from facesim_index.store.catalog.index_state import CalibrationVerdict
from facesim_index.store.folder.store import FolderStore
from tests.builders import commit_pictures, new_store, picture, unit_vectors


def curve(cosine: float) -> Calibration:
    """Return a curve that says that one pair of strangers in a hundred reaches a cosine."""
    rates = ((0.0, -0.3), (0.55 * cosine, -1.0), (cosine, -2.0), (1.0, -6.0))
    evidence = Evidence("made up", 2, 3, 4, "2026-11-24")
    knots = ((cosine - 0.1, -2.0), (0.6, 5.0))
    return Calibration("own", FAKE_IDENTITY.key, "by hand", knots, evidence, (), rates)


@pytest.fixture
def in_force(monkeypatch: pytest.MonkeyPatch) -> list[Calibration]:
    calibrations = [curve(0.11)]
    for module in ("in_force", "verdicts", "gallery"):
        name = f"facesim_index.degrees.{module}.calibration_in_force"
        monkeypatch.setattr(name, lambda _: calibrations[-1])
    return calibrations


def stored(store: FolderStore) -> CalibrationVerdict | None:
    with store.view() as view:
        return stored_verdict(view)


def commit_strangers(store: FolderStore, n: int, *, seed: int) -> None:
    faces = unit_vectors(n, seed=seed)
    names = [f"{seed}-{number}" for number in range(n)]
    commit_pictures(
        store,
        {f"/p/{name}.jpg": picture(name, faces[k : k + 1]) for k, name in enumerate(names)},
    )


def test_a_writer_stores_whether_the_calibration_fits(
    tmp_path: Path, in_force: list[Calibration]
) -> None:
    with new_store(tmp_path / "i") as store:
        refresh_estimates(store)
        assert stored(store) is None  # no faces
        commit_strangers(store, 100, seed=1)
        refresh_estimates(store)
        found = stored(store)
        assert found is not None
        assert (found.verdict, found.sentence[:22]) == ("fits", "Calibration 'own' fits")
        # Another curve: one of these strangers in four reaches what one in a hundred should.
        in_force.append(curve(0.03))
        refresh_estimates(store)
        found = stored(store)
        assert found is not None
        assert found.verdict == "claims_too_much"


def test_a_verdict_is_of_the_faces_that_were_there(
    tmp_path: Path, in_force: list[Calibration], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_store(tmp_path / "i") as store:
        commit_strangers(store, 60, seed=1)
        refresh_estimates(store)
        before = stored(store)
        assert before is not None
        with store.write() as transaction:
            writing.advance(transaction, same_faces=True)
        after = stored(store)
        assert after is not None
        assert after.sentence == before.sentence
        commit_strangers(store, 60, seed=2)
        assert stored(store) is None
        refresh_estimates(store)
        monkeypatch.setattr(verdicts, "check_strangers", lambda *_: pytest.fail("again"))
        refresh_estimates(store)
        assert stored(store) is not None
    with FolderStore(tmp_path / "i") as store:
        assert stored(store) is not None


def test_a_bounded_number_of_faces_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "N_FACES", 40)
    with new_store(tmp_path / "i") as store:
        commit_strangers(store, 90, seed=3)
        with store.view() as view:
            found = verdicts.check_strangers(view, curve(0.11))
    assert found.n_across + found.n_left_out == 40 * 39 // 2
    assert found.groups == ()
    assert np.isfinite([level.observed for level in found.across]).all()
