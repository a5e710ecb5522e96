"""Answers as HTML, for notebooks: faces with their degrees, and small tables.

Importing this is enough: each function is entered in `shown` for the records that it draws.
Crops are cut from the picture files at the moment of drawing and are part of the HTML, so a
notebook that is saved with its outputs holds faces.  Whatever comes from files, labels and
people is shown as text: nothing in a name is markup, steers a page or is taken for a formula.
Colours are such that they can be read on a light page and on a dark one.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image

from facesim_index.calibration.degree import support_phrase
from facesim_index.display.sheet import MOST_MATCHES, file_crops
from facesim_index.ingest.run import IngestSummary
from facesim_index.people.edits import PersonFace, PersonFaces
from facesim_index.people.review import DoubtfulFace, LikelyMerge, Review, Side
from facesim_index.records import Float32Array
from facesim_index.search.answers import Comparison, FaceAnswer, Match, QueryAnswer
from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
from facesim_index.upkeep.status import IndexStatus
from facesim_index.utils.notebook_hook import draws
from facesim_index.utils.text import count_text, degree_text, last_part, printable

SIDE_PX = 96
"""Side of a face on the page; crops have twice as many pixels, for sharp screens."""

MOST_FACES = MOST_MATCHES
"""More matches of a face, faces of a person or doubtful faces are counted, not shown."""

_MOST_OF_AN_ANSWER, _LEAST_OF_A_FACE = 300, 3

_LIKELY, _UNCERTAIN, _UNLIKELY = "#2f8fd0", "#d98a0b", "#9aa1ab"
_FAINT = "rgba(128,128,128,.25)"
# Jupyter sets formulas between dollar signs; these classes keep it from names that have them.
_PAGE = "tex2jax_ignore mathjax_ignore"

Wanted = tuple[Sequence[str], Float32Array | None]
"""The files that may show a face, and its landmarks."""


@draws(QueryAnswer)
def draw_answer(answer: QueryAnswer) -> str:
    """Draw each query face with its matches."""
    most = max(_MOST_OF_AN_ANSWER // max(len(answer.faces), 1), _LEAST_OF_A_FACE)
    shown = [face.matches[: min(most, MOST_FACES)] for face in answer.faces]
    wanted: list[Wanted] = [([answer.query], face.landmarks) for face in answer.faces]
    wanted += [_of_match(match) for matches in shown for match in matches]
    crops = iter(_crops(wanted))
    own = [next(crops) for _ in answer.faces]
    parts = [
        _face_answer(answer, face, crop, [_match_card(match, next(crops)) for match in matches])
        for face, crop, matches in zip(answer.faces, own, shown, strict=True)
    ]
    if answer.n_left_out:
        parts.append(
            _line(f"The index is damaged: {answer.n_left_out} faces were left out.", strong=True)
        )
    if answer.note is not None:
        parts.append(_line(answer.note))
    if answer.calibration is not None:
        parts.append(_legend(answer))
    return _page(*parts)


@draws(Match)
def draw_match(match: Match) -> str:
    """Draw one match."""
    [crop] = _crops([_of_match(match)])
    return _page(_match_card(match, crop))


@draws(Comparison)
def draw_comparison(found: Comparison) -> str:
    """Draw two faces and how alike they are."""
    crops = _crops([([found.path_a], found.landmarks_a), ([found.path_b], found.landmarks_b)])
    sides = (
        (crops[0], found.path_a, found.face_a, found.n_faces_a),
        (crops[1], found.path_b, found.face_b, found.n_faces_b),
    )
    cards = [
        _card(crop, _file_name(path), _faded(f"face {face} of {n_faces}"))
        for crop, path, face, n_faces in sides
    ]
    rows = [("cosine", f"{found.cosine:.3f}")]
    if found.log10_lr is not None:
        bound = "; as far as the evidence reaches" if found.at_bound else ""
        rows += [
            ("degree", degree_text(found.degree) + _interval_text(found)),
            ("log10 LR", f"{found.log10_lr:.2f} ({support_phrase(found.log10_lr)}{bound})"),
            ("prior", f"{found.prior:.3g}"),
            ("calibration", found.calibration or "-"),
        ]
    if found.fmr is not None:
        rows.append(("FMR", f"{found.fmr:.2g}"))
    told = [_bar(found.degree, found.degree_low, found.degree_high), _pairs_table(rows)]
    if found.note is not None:
        told.append(_line(found.note))
    return _page(_row([*cards, f'<div style="min-width:16em">{"".join(told)}</div>']))


@draws(IndexStatus)
def draw_status(found: IndexStatus) -> str:
    """Draw what is in an index as a table."""
    counts = found.counts
    rows = [
        ("index", found.path),
        ("made", f"{found.created_at}, generation {found.generation}"),
        ("engine", found.engine),
        ("calibration", found.calibration or "none for this engine: no degrees"),
        *(("root", f"{path} (ingested {when})") for path, when in found.roots),
        ("files", f"{counts['files']} ({counts['files_missing']} missing)"),
        ("pictures", f"{counts['images']} ({counts['images_ok']} with faces)"),
        ("faces", f"{counts['faces']} ({counts['faces_of_people']} are somebody's)"),
        ("people", f"{counts['people']} ({counts['people_named']} with a name)"),
        ("size", f"{(found.bytes_segments + found.bytes_catalog) / 1e6:.1f} MB"),
    ]
    if found.interrupted:
        rows.append(("interrupted", "the last ingest did not finish; run it again to go on"))
    if found.traces_left:
        rows.append(("traces", "a secure forget did not finish; compact finishes it"))
    return _page(_pairs_table(rows))


@draws(IngestSummary)
def draw_summary(summary: IngestSummary) -> str:
    """Draw what an ingest did as a table."""
    rows = [
        (
            "pictures seen",
            f"{summary.files_seen}: {summary.files_new} new, {summary.files_changed} changed, "
            f"{summary.files_unchanged} unchanged",
        ),
        (
            "read",
            f"{summary.images_read} in {summary.elapsed_s:.1f} s: {summary.images_embedded} with "
            f"faces, {summary.images_without_face} without, {summary.images_failed} failed",
        ),
        ("faces", f"{summary.faces_added} added, {summary.faces_total} in the index"),
        *(("warning", warning) for warning in summary.warnings),
    ]
    if summary.interrupted:
        rows.append(("interrupted", "run it again to go on"))
    return _page(_pairs_table(rows))


@draws(PersonRow)
def draw_person(row: PersonRow) -> str:
    """Draw one person as a table."""
    return draw_people(PersonRows([row]))


@draws(PersonRows)
def draw_people(rows: PersonRows) -> str:
    """Draw people as a table, a row each."""
    heads = ("person", "name", "faces", "pictures", "confirmed")
    cells = [
        (
            *(row.person_id, "-" if row.name is None else row.name),
            *(row.n_faces, row.n_pictures, row.n_confirmed),
        )
        for row in rows
    ]
    return _page(_table(heads, cells))


@draws(PersonFaces)
def draw_person_faces(faces: PersonFaces) -> str:
    """Draw the faces of a person."""
    shown = faces[:MOST_FACES]
    crops = _crops([(known.face.paths, known.face.landmarks) for known in shown])
    cards = [_person_face(known, crop) for known, crop in zip(shown, crops, strict=True)]
    return _page(_row(cards), _left_out(len(faces) - len(shown)))


@draws(Review)
def draw_review(review: Review) -> str:
    """Draw doubtful faces and likely merges, the first of each first."""
    doubtful, merges = review.doubtful[:MOST_FACES], review.merges[: MOST_FACES // 2]
    wanted: list[Wanted] = [([item.path], item.landmarks) for item in doubtful]
    wanted += [_of_side(side) for merge in merges for side in (merge.a, merge.b)]
    crops = _crops(wanted)
    asked = [_doubtful(item, crop) for item, crop in zip(doubtful, crops, strict=False)]
    sides = crops[len(doubtful) :]
    pairs = [
        _merge(merge, a, b) for merge, a, b in zip(merges, sides[::2], sides[1::2], strict=True)
    ]
    return _page(
        _line("Is this face that person's?", strong=True),
        _row(asked) if asked else _line("No face is doubtful."),
        _left_out(len(review.doubtful) - len(doubtful)),
        _line("Are these one person?", strong=True),
        _row(pairs) if pairs else _line("Nobody is likely to be somebody else, too."),
        _left_out(len(review.merges) - len(merges)),
    )


# The parts of an answer


def _face_answer(answer: QueryAnswer, face: FaceAnswer, crop: str, cards: Sequence[str]) -> str:
    """Draw a query face beside the cards of its first matches."""
    asked = answer.person
    if asked is None:
        asked = "query" if answer.person_id is None else f"person {answer.person_id}"
    about = f"face {face.face}, {face.box.w:.0f}×{face.box.h:.0f} px"
    query = _card(crop, f"<b>{_text(asked)}</b>", _file_name(answer.query), _faded(about))
    matches = _row(cards) if cards else _line("no match")
    matches += _left_out(len(face.matches) - len(cards))
    edge = f"border-left:1px solid {_FAINT};padding-left:12px"
    return (
        '<div style="display:flex;gap:12px;align-items:flex-start;margin:4px 0 12px">'
        f'{query}<div style="{edge}">{matches}</div></div>'
    )


def _match_card(match: Match, crop: str) -> str:
    head = f"{match.rank}.&ensp;<b>{_text(degree_text(match.degree))}</b>"
    if match.degree is None:
        head = f"{match.rank}.&ensp;cosine <b>{match.cosine:.3f}</b>"
    lines = [_file_name(match.path), _faded(f"face {match.face_id}, cosine {match.cosine:.3f}")]
    if match.person_id is not None:
        known = _who(match.person_id, match.person)
        degree = "" if match.person_degree is None else f" {degree_text(match.person_degree)}"
        lines.append(_text(known + degree))
    if match.same_image:
        lines.append(_faded("the query picture"))
    bar = _bar(match.degree, match.degree_low, match.degree_high)
    return _card(crop, head, bar, *lines)


def _legend(answer: QueryAnswer) -> str:
    estimated = ""
    if answer.prior_low is not None and answer.prior_high is not None:
        estimated = (
            ", the share of genuine pairs estimated from this index "
            f"({answer.prior_low:.2g} to {answer.prior_high:.2g})"
        )
    strangers = [match.expected_strangers for face in answer.faces for match in face.matches[:1]]
    first = next((count for count in strangers if count is not None), None)
    expected = (
        ""
        if first is None
        else f" Faces of strangers expected at or above the first match: {count_text(first)}."
    )
    return _line(
        f"Degree: probability of one person, at prior {answer.prior:.3g}{estimated}; the thin line "
        f"is its 95 % interval.{expected} Calibration {answer.calibration}, "
        f"{answer.n_faces} faces searched."
    )


def _person_face(known: PersonFace, crop: str) -> str:
    said = "confirmed" if known.confirmed else "grouped"
    return _card(crop, _file_name(known.face.path), _faded(f"face {known.face.face_id}, {said}"))


def _doubtful(item: DoubtfulFace, crop: str) -> str:
    return _card(
        crop,
        f"<b>{_text(degree_text(item.degree))}</b>",
        _bar(item.degree, None, None),
        _text(_who(item.person_id, item.name)),
        _file_name(item.path),
        _faded(f"face {item.face_id}"),
    )


def _merge(merge: LikelyMerge, crop_a: str, crop_b: str) -> str:
    sides = [
        _card(crop, _text(_side_name(side)), _faded(f"{side.n_faces} faces"))
        for side, crop in ((merge.a, crop_a), (merge.b, crop_b))
    ]
    return (
        f'<div style="border:1px solid {_FAINT};border-radius:6px;padding:8px">'
        f"<b>{_text(degree_text(merge.degree))}</b>{_bar(merge.degree, None, None)}"
        f"{_row(sides)}</div>"
    )


def _side_name(side: Side) -> str:
    if side.person_id is None:
        return f"face {side.face_id}"
    return _who(side.person_id, side.name)


def _who(person_id: int, name: str | None) -> str:
    return f"person {person_id}" if name is None else f"{name} ({person_id})"


def _interval_text(found: Comparison) -> str:
    if found.degree_low is None or found.degree_high is None:
        return ""
    return f" (95 %: {degree_text(found.degree_low)} to {degree_text(found.degree_high)})"


# Faces


def _of_match(match: Match) -> Wanted:
    return match.paths or (match.path,), match.landmarks


def _of_side(side: Side) -> Wanted:
    return ((), None) if side.example is None else (side.example.paths, side.example.landmarks)


def _crops(wanted: Sequence[Wanted]) -> list[str]:
    """Return the picture of each face, in their order; each file is read once for its faces."""
    crop = file_crops(2 * SIDE_PX)
    drawn = [_NO_PICTURE] * len(wanted)
    for place in sorted(range(len(wanted)), key=lambda number: tuple(wanted[number][0])):
        paths, landmarks = wanted[place]
        if landmarks is None:
            continue
        found = (crop(path, landmarks) for path in paths)
        pixels = next((pixels for pixels in found if pixels is not None), None)
        if pixels is not None:
            drawn[place] = _picture(Image.fromarray(pixels))
    return drawn


def _picture(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    encoded = base64.b64encode(data.getvalue()).decode("ascii")
    return (
        f'<img src="data:image/jpeg;base64,{encoded}" alt="face" width="{SIDE_PX}" '
        f'height="{SIDE_PX}" style="border-radius:6px;display:block;margin:0">'
    )


_NO_PICTURE = (
    f'<div style="width:{SIDE_PX}px;height:{SIDE_PX}px;border-radius:6px;background:{_FAINT};'
    'display:flex;align-items:center;justify-content:center;text-align:center">no picture</div>'
)


# HTML


def _page(*parts: str) -> str:
    return f'<div class="{_PAGE}" style="font-size:13px;line-height:1.4">{"".join(parts)}</div>'


def _card(picture: str, *lines: str) -> str:
    """Return a picture with lines below, which are HTML already."""
    below = "".join(f'<div style="overflow-wrap:anywhere">{line}</div>' for line in lines)
    return f'<div style="width:{SIDE_PX + 16}px">{picture}{below}</div>'


def _row(parts: Iterable[str]) -> str:
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(parts)}</div>'


def _line(text: str, *, strong: bool = False) -> str:
    shown = f"<b>{_text(text)}</b>" if strong else _text(text)
    return f'<div style="margin:4px 0;max-width:60em">{shown}</div>'


def _faded(text: str) -> str:
    return f'<span style="opacity:.7">{_text(text)}</span>'


def _left_out(count: int) -> str:
    return _line(f"and {count} more, not shown") if count > 0 else ""


def _file_name(path: str) -> str:
    return f'<span title="{_text(path)}">{_text(last_part(path))}</span>'


def _bar(degree: float | None, low: float | None, high: float | None) -> str:
    """Return a degree as a bar, with its 95 % interval as a thin line."""
    if degree is None:
        return ""
    colour = _LIKELY if degree >= 0.9 else _UNCERTAIN if degree >= 0.5 else _UNLIKELY
    interval = ""
    if low is not None and high is not None:
        interval = (
            f'<div style="position:absolute;left:{100 * low:.2f}%;top:3px;height:2px;'
            f"width:{100 * (high - low):.2f}%;min-width:2px;background:currentColor;"
            'opacity:.7"></div>'
        )
    return (
        f'<div style="position:relative;width:{SIDE_PX}px;height:8px;margin:2px 0;'
        f'border-radius:4px;background:{_FAINT};overflow:hidden"><div style="height:8px;'
        f'width:{100 * degree:.2f}%;background:{colour}"></div>{interval}</div>'
    )


def _pairs_table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th>'
        f'<td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    head = "".join(f'<th style="text-align:left">{_text(name)}</th>' for name in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="text-align:left">{_text(str(cell))}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    """Return text that is nothing but text, whatever it holds."""
    return html.escape(printable(text))
