"""How the pages put numbers into words: few digits, and never a claim of certainty."""

import math
from datetime import datetime

from facesim_index.calibration.degree import support_phrase
from facesim_index.search.answers import Comparison
from facesim_index.utils.text import last_part, printable

# Beyond these, two decimals of a percentage would read as 100 % or 0 %.
_SURE, _NEVER = 0.99995, 0.00005


def percent_text(degree: float | None) -> str:
    """Return a probability as a percentage, with more digits where it is close to 0 or 1.

    Parameters
    ----------
    degree : float or None
        In [0, 1].

    Returns
    -------
    str
        Neither "0 %" nor "100 %"; a dash for None.

    Examples
    --------
    >>> percent_text(0.997), percent_text(0.5), percent_text(1.0), percent_text(0.0)
    ('99.7 %', '50 %', '> 99.99 %', '< 0.01 %')
    """
    if degree is None:
        return "–"
    if degree >= _SURE:
        return "> 99.99 %"
    if degree < _NEVER:
        return "< 0.01 %"
    decimals = 1 if 0.01 <= degree <= 0.99 else 2
    text = f"{100 * degree:.{decimals}f}"
    return text.rstrip("0").rstrip(".") + " %"


def interval_text(low: float | None, high: float | None) -> str:
    """Return the 95 % interval of a probability in words.

    Parameters
    ----------
    low, high : float or None
        In [0, 1]; None where they are not known.

    Returns
    -------
    str
        Empty where the interval is not known.

    Examples
    --------
    >>> interval_text(0.9, 0.99), interval_text(None, None)
    ('95 % interval 90 to 99 %', '')
    """
    if low is None or high is None:
        return ""
    ends = percent_text(low), percent_text(high)
    if ends[0] == ends[1]:
        return f"95 % interval {ends[0]}"
    if ends[0].startswith("<") and not ends[1].startswith(">"):
        return f"95 % interval up to {ends[1]}"
    if ends[1].startswith(">") and not ends[0].startswith("<"):
        return f"95 % interval from {ends[0]}"
    return f"95 % interval {ends[0].removesuffix(' %')} to {ends[1]}"


def frequency_text(rate: float) -> str:
    """Return how often something is, as a number of cases.

    Parameters
    ----------
    rate : float
        In [0, 1].

    Returns
    -------
    str

    Examples
    --------
    >>> frequency_text(0.00005), frequency_text(0.68), frequency_text(0.0)
    ('1 in 20,000', '68 in 100', 'none')
    """
    if rate <= 0.0:
        return "none"
    if rate >= 0.5:
        return f"{min(round(100 * rate), 99)} in 100"
    cases = 1.0 / rate
    if cases < 9.95:
        return f"1 in {cases:.1f}".removesuffix(".0")
    digits = max(0, math.floor(math.log10(cases)) - 1)
    return f"1 in {round(cases / 10**digits) * 10**digits:,}"


def impostors_text(expected: float) -> str:
    """Return how many faces of other people are expected to be as much alike.

    Parameters
    ----------
    expected : float
        At least 0.

    Returns
    -------
    str
        Never a plain zero.

    Examples
    --------
    >>> impostors_text(0.0), impostors_text(1.0), impostors_text(1234.5)
    ('< 0.01 strangers expected', '1 stranger expected', '1,234 strangers expected')
    """
    if expected < 0.01:
        return "< 0.01 strangers expected"
    number = f"{expected:.2g}" if expected < 100 else f"{expected:,.0f}"
    return f"{number} {'stranger' if number == '1' else 'strangers'} expected"


def prior_text(prior: float) -> str:
    """Return a prior in words, as one pair in so many where it is at most 0.5.

    Parameters
    ----------
    prior : float
        In (0, 1).

    Returns
    -------
    str

    Examples
    --------
    >>> prior_text(0.5), prior_text(0.000123), prior_text(0.9)
    ('one pair in two', 'one pair in 8,130', '90 % of pairs')
    """
    cases = 1.0 / prior
    if abs(cases - 2.0) < 1e-9:
        return "one pair in two"
    if cases >= 2.0:
        digits = max(0, math.floor(math.log10(cases)) - 2)
        return f"one pair in {round(cases / 10**digits) * 10**digits:,}"
    return f"{percent_text(prior)} of pairs"


def verdict_text(log10_lr: float | None) -> str:
    """Return the evidence of a pair in words, free of any prior.

    Parameters
    ----------
    log10_lr : float or None
        None without a calibration.

    Returns
    -------
    str

    Examples
    --------
    >>> verdict_text(0.0), verdict_text(None)
    ('No support either way', 'No degree without a calibration')
    """
    if log10_lr is None:
        return "No degree without a calibration"
    phrase = support_phrase(log10_lr)
    if phrase.startswith("no "):
        return "No support either way"
    strength = phrase.removesuffix(" against")
    whom = "two people" if phrase.endswith(" against") else "one person"
    return f"{strength[0].upper()}{strength[1:]} that they show {whom}"


def comparison_sentence(comparison: Comparison) -> str:
    """Return what a comparison says, as one plain sentence.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
        Empty without a calibration.
    """
    if comparison.degree is None:
        return ""
    shows = "show" if comparison.prior > 0.5 else "shows"
    sentence = (
        f"If {prior_text(comparison.prior)} {shows} one person, such a pair does so in "
        f"{_in_sentence(percent_text(comparison.degree))} of cases"
    )
    interval = interval_text(comparison.degree_low, comparison.degree_high)
    if interval:
        sentence += f" ({_in_sentence(interval)})"
    if comparison.fmr is not None:
        verb = "look" if comparison.fmr >= 0.5 else "looks"
        rate = frequency_text(comparison.fmr)
        sentence += f"; of pairs of strangers {rate} {verb} as much alike"
    return sentence + "."


def file_name(path: str) -> str:
    """Return the last part of a path, safe to show.

    Parameters
    ----------
    path : str

    Returns
    -------
    str

    Examples
    --------
    >>> file_name("/photos/me.jpg")
    'me.jpg'
    """
    return printable(last_part(path))


def person_text(name: str | None, person_id: int | None) -> str:
    """Return what a person is called.

    Parameters
    ----------
    name : str or None
    person_id : int or None

    Returns
    -------
    str
        The name, without one the number, and without both "nobody".

    Examples
    --------
    >>> person_text("Anna", 7), person_text(None, 7), person_text(None, None)
    ('Anna', 'Person 7', 'nobody')
    """
    if name is not None:
        return name
    return "nobody" if person_id is None else f"Person {person_id}"


def count_text(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    number : int
    one : str
        The noun in the singular.
    many : str, optional
        The noun in the plural; by default the singular with an s.

    Returns
    -------
    str

    Examples
    --------
    >>> count_text(1, "face"), count_text(2000, "face"), count_text(2, "match", "matches")
    ('1 face', '2,000 faces', '2 matches')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """Return a message as a sentence: with a capital letter and a full stop.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> sentence("the picture has no face")
    'The picture has no face.'
    """
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def size_text(n_bytes: int) -> str:
    """Return a size for people.

    Parameters
    ----------
    n_bytes : int

    Returns
    -------
    str

    Examples
    --------
    >>> size_text(999), size_text(1_500_000)
    ('999 bytes', '1.5 MB')
    """
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def moment_text(iso: str) -> str:
    """Return a point in time for people.

    Parameters
    ----------
    iso : str
        As ISO 8601 writes it.

    Returns
    -------
    str
        The text itself where it is no such time.

    Examples
    --------
    >>> moment_text("2026-07-04T12:30:00+00:00"), moment_text("long ago")
    ('4 July 2026, 12:30 UTC', 'long ago')
    """
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = " UTC" if moment.tzinfo else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"


def _in_sentence(text: str) -> str:
    return text.replace("> ", "more than ").replace("< ", "less than ")
