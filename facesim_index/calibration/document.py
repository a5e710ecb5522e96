"""A calibration as JSON text, and back."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, replace

from facesim_index.calibration.head_json import (
    head_document,
    head_of_document,
    normalisation_document,
    normalisation_of_document,
)
from facesim_index.calibration.heads import COSINE
from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
from facesim_index.errors import CalibrationError
from facesim_index.utils.text import json_text

FORMAT = "facesim-calibration"
FORMAT_VERSION = 4

_WITHOUT_HEAD = 2  # Calibrations of this version have no head; their scores are cosines.
_WITHOUT_NORMALISATION = 3
_PAIR_ON_LINES = re.compile(r"\[\n\s*([^\s,\[\]{}\"]+),\n\s*([^\s,\[\]{}\"]+)\n\s*\]")


def to_json(calibration: Calibration) -> str:
    """Return a calibration as readable JSON text, with one knot on a line.

    Parameters
    ----------
    calibration : Calibration

    Returns
    -------
    str
        `from_json` makes an equal record of it.

    Examples
    --------
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> to_json(calibration).splitlines()[7]
    '    [0.0, -2.0],'
    """
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        **asdict(replace(calibration, head=COSINE, normalisation=None)),
        "head": head_document(calibration.head),
        "normalisation": normalisation_document(calibration.normalisation),
    }
    text = json_text(content, indent=2, allow_nan=False)
    # No string of the record can match, because JSON escapes line breaks in strings.
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

    Examples
    --------
    >>> evidence = Evidence("made up", 9, 99, 999, "2026-01-01")
    >>> calibration = Calibration("mine", "engine", "by hand", ((0.0, -2.0), (0.4, 4.0)), evidence)
    >>> from_json(to_json(calibration)) == calibration
    True
    """
    try:
        content: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"this calibration is not JSON: {error}") from error
    keys = ["format", "version", *_field_names(Calibration)]
    version = _format_version(content)
    if version <= _WITHOUT_HEAD:
        keys.remove("head")
    if version <= _WITHOUT_NORMALISATION:
        keys.remove("normalisation")
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
        normalisation=normalisation_of_document(top.get("normalisation")),
    )


def _format_version(content: object) -> int:
    """Return the version of a calibration; refuse what is of another format."""
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
