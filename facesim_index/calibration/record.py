"""The record of a calibration, with its evidence, and its form as JSON."""

import datetime
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np

from facesim_index.calibration.head_json import head_document, head_of_document
from facesim_index.calibration.heads import COSINE, Head
from facesim_index.errors import CalibrationError
from facesim_index.utils.text import json_text

FORMAT = "facesim-calibration"
FORMAT_VERSION = 3
_WITHOUT_HEAD = 2  # The version before heads; all of its curves are of cosines.

_PAIR_ON_LINES = re.compile(r"\[\n\s*([^\s,\[\]{}\"]+),\n\s*([^\s,\[\]{}\"]+)\n\s*\]")


@dataclass(frozen=True, slots=True)
class HeldOutCheck:
    """Figures of a curve on people it was not fitted on, both classes weighing the same.

    Attributes
    ----------
    data : str
        Which pairs.
    n_people, n_genuine, n_impostor : int
        People, and pairs of one person and of two.
    cllr : float
        Cost of the likelihood ratios in bits: 0 is perfect, 1 is no information.
    min_cllr : float
        What the best non-decreasing curve, fitted on these very pairs, would reach.
    ece : float
        Expected calibration error of the degrees at prior 0.5.
    eer : float
        Equal error rate of the scores.
    true_match_rates : tuple of (float, float)
        False match rate and the true match rate there; only rates that at least ten of the
        impostor pairs make up.
    """

    data: str
    n_people: int
    n_genuine: int
    n_impostor: int
    cllr: float
    min_cllr: float
    ece: float
    eer: float
    true_match_rates: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a calibration was fitted on, and how it did on other people.

    Attributes
    ----------
    data : str
        Name of the labelled pictures.
    n_people, n_genuine, n_impostor : int
        People, and pairs of one person and of two, that the final curve was fitted on.
    fitted_on : str
        ISO 8601 date.
    checks : tuple of HeldOutCheck
        From a curve fitted in the same way with these people left out; may be empty.

    Raises
    ------
    CalibrationError
        A number is not positive, or the date is not one.
    """

    data: str
    n_people: int
    n_genuine: int
    n_impostor: int
    fitted_on: str
    checks: tuple[HeldOutCheck, ...] = ()

    def __post_init__(self) -> None:
        if min(self.n_people, self.n_genuine, self.n_impostor) < 1:
            raise CalibrationError("evidence needs people, genuine pairs and impostor pairs")
        try:
            datetime.date.fromisoformat(self.fitted_on)
        except ValueError as error:
            raise CalibrationError(f"fitted_on is not a date: {self.fitted_on!r}") from error


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted curve from score to log10 likelihood ratio, with its evidence.

    The score of two faces is what the calibration's head makes of their embeddings: their
    cosine, unless another head was learned.

    Attributes
    ----------
    name : str
        For people.
    engine_key : str
        `EngineIdentity.key` of the engine whose embeddings the curve is for.
    method : str
        How the knots were fitted, in words.
    knots : tuple of (float, float)
        Score (ascending, in [-1, 1]) and log10 likelihood ratio (non-decreasing).  Linear
        between knots and constant outside them: the first and last value are the strongest
        claims that the evidence supports.
    evidence : Evidence
    band : tuple of (float, float), default=()
        Low and high end of the 95 % interval of each knot's log10 likelihood ratio, on either
        side of it; both never decrease.  Empty when no interval is known.
    false_matches : tuple of (float, float), default=()
        Score (ascending) and log10 of the share of pairs of two people with at least that
        score (non-increasing, at most 0).  Linear between them, and constant outside: the
        last is the least that the evidence can show.  Empty when the rate is not known.
    head : Head, default=COSINE
        What makes a score of two embeddings.

    Raises
    ------
    CalibrationError
        A field does not hold what is said above.
    """

    name: str
    engine_key: str
    method: str
    knots: tuple[tuple[float, float], ...]
    evidence: Evidence
    band: tuple[tuple[float, float], ...] = ()
    false_matches: tuple[tuple[float, float], ...] = ()
    head: Head = COSINE

    def __post_init__(self) -> None:
        if not (self.name and self.engine_key):
            raise CalibrationError("a calibration needs a name and an engine key")
        if len(self.knots) < 2:
            raise CalibrationError(f"calibration {self.name!r} needs two knots or more")
        self._require_scores(self.knots, "a knot")
        steps = np.diff(np.array(self.knots, dtype=np.float64), axis=0)
        if (steps[:, 0] <= 0.0).any() or (steps[:, 1] < 0.0).any():
            raise CalibrationError(
                f"the knots of calibration {self.name!r} must have ascending scores and "
                "log10 likelihood ratios that never decrease"
            )
        if self.band:
            self._require_band()
        if self.false_matches:
            self._require_false_matches()

    def _require_scores(self, pairs: tuple[tuple[float, float], ...], what: str) -> None:
        values = np.array(pairs, dtype=np.float64)
        if not np.isfinite(values).all() or np.abs(values[:, 0]).max() > 1.0:
            raise CalibrationError(
                f"calibration {self.name!r} has {what} that is not finite or not in [-1, 1]"
            )

    def _require_band(self) -> None:
        band = np.array(self.band, dtype=np.float64)
        if len(self.band) != len(self.knots) or not np.isfinite(band).all():
            raise CalibrationError(
                f"the band of calibration {self.name!r} must have a finite interval for each knot"
            )
        value = np.array(self.knots, dtype=np.float64)[:, 1]
        if (
            (band[:, 0] > value).any()
            or (band[:, 1] < value).any()
            or (np.diff(band, axis=0) < 0.0).any()
        ):
            raise CalibrationError(
                f"the band of calibration {self.name!r} must hold its curve and never decrease"
            )

    def _require_false_matches(self) -> None:
        self._require_scores(self.false_matches, "a false match rate")
        rates = np.array(self.false_matches, dtype=np.float64)
        steps = np.diff(rates, axis=0)
        if rates[0, 1] > 0.0 or (steps[:, 0] <= 0.0).any() or (steps[:, 1] > 0.0).any():
            raise CalibrationError(
                f"the false match rates of calibration {self.name!r} must have ascending scores "
                "and logarithms that are at most 0 and never increase"
            )


def to_json(curve: Calibration) -> str:
    """Return the calibration as readable JSON text, one knot on a line.

    Parameters
    ----------
    curve : Calibration

    Returns
    -------
    str
        `from_json` gives back an equal record.
    """
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        **asdict(curve),
        "head": head_document(curve.head),
    }
    text = json_text(content, indent=2, allow_nan=False)
    # No text of the record can match: JSON has no bare line break inside a text.
    return _PAIR_ON_LINES.sub(r"[\1, \2]", text) + "\n"


def from_json(text: str) -> Calibration:
    """Read a calibration from the text that `to_json` wrote.

    Parameters
    ----------
    text : str

    Returns
    -------
    Calibration

    Raises
    ------
    CalibrationError
        The text is not JSON, is of another format or a newer version, or has a key or a
        value that does not belong there.
    """
    try:
        content: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"this calibration is not JSON: {error}") from error
    keys = ["format", "version", *_field_names(Calibration)]
    if _format_version(content) == _WITHOUT_HEAD:
        keys.remove("head")
    top = _mapping(content, keys, "calibration")
    return Calibration(
        name=_text(top["name"], "name"),
        engine_key=_text(top["engine_key"], "engine_key"),
        method=_text(top["method"], "method"),
        knots=_pairs(top["knots"], "knots"),
        evidence=_evidence(top["evidence"]),
        band=_pairs(top["band"], "band"),
        false_matches=_pairs(top["false_matches"], "false_matches"),
        head=head_of_document(top["head"]) if "head" in top else COSINE,
    )


def _format_version(content: object) -> int:
    """Say what it is before saying which key is wrong."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CalibrationError(f"this is not a calibration: there is no format {FORMAT!r}")
    version = _integer(content.get("version"), "version")
    if version < _WITHOUT_HEAD:  # Version 1 was never released.
        raise CalibrationError(f"there is no format version {version} of a calibration")
    if version > FORMAT_VERSION:
        raise CalibrationError(
            f"this calibration has format version {version}, newer than this facesim knows "
            f"({FORMAT_VERSION}); use a newer facesim"
        )
    return version


def _evidence(value: object) -> Evidence:
    found = _mapping(value, _field_names(Evidence), "evidence")
    checks = found["checks"]
    if not isinstance(checks, list):
        raise CalibrationError("evidence.checks must be a list")
    return Evidence(
        data=_text(found["data"], "evidence.data"),
        n_people=_integer(found["n_people"], "evidence.n_people"),
        n_genuine=_integer(found["n_genuine"], "evidence.n_genuine"),
        n_impostor=_integer(found["n_impostor"], "evidence.n_impostor"),
        fitted_on=_text(found["fitted_on"], "evidence.fitted_on"),
        checks=tuple(_check(check) for check in checks),
    )


def _check(value: object) -> HeldOutCheck:
    found = _mapping(value, _field_names(HeldOutCheck), "evidence.checks")
    return HeldOutCheck(
        data=_text(found["data"], "data"),
        n_people=_integer(found["n_people"], "n_people"),
        n_genuine=_integer(found["n_genuine"], "n_genuine"),
        n_impostor=_integer(found["n_impostor"], "n_impostor"),
        cllr=_number(found["cllr"], "cllr"),
        min_cllr=_number(found["min_cllr"], "min_cllr"),
        ece=_number(found["ece"], "ece"),
        eer=_number(found["eer"], "eer"),
        true_match_rates=_pairs(found["true_match_rates"], "true_match_rates"),
    )


def _field_names(record: type[Calibration | Evidence | HeldOutCheck]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


def _mapping(value: object, keys: Sequence[str], where: str) -> dict[str, object]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise CalibrationError(f"{where} must have exactly the keys {', '.join(keys)}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise CalibrationError(f"{where} must be a text, not {value!r}")
    return value


def _integer(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CalibrationError(f"{where} must be a whole number, not {value!r}")
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CalibrationError(f"{where} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:  # JSON's whole numbers have no limit.
        number = math.inf
    if not math.isfinite(number):
        raise CalibrationError(f"{where} must be a finite number")
    return number


def _pairs(value: object, where: str) -> tuple[tuple[float, float], ...]:
    if not isinstance(value, list):
        raise CalibrationError(f"{where} must be a list of pairs of numbers")
    pairs = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise CalibrationError(f"{where} must be a list of pairs of numbers")
        pairs.append((_number(pair[0], where), _number(pair[1], where)))
    return tuple(pairs)


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")
