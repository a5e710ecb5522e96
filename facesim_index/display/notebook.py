"""Answers as HTML, for notebooks: faces with their degrees, and small tables.

To import this module is enough: it registers each function for the records that it draws (see
`utils.notebook_hook`).  Crops are cut from the picture files at the moment of drawing and are part
of the HTML, so a notebook that is saved with its outputs holds faces.  Whatever comes from files,
labels and people is shown as text: nothing in a name is markup, steers a page or is taken for a
formula.
"""

from collections.abc import Sequence

from PIL import Image

from facesim_index.calibration.degree import support_phrase
from facesim_index.degrees.cautions import caution_sentence, caution_text
from facesim_index.display.file_crops import FileCrops
from facesim_index.display.markup import (
    FAINT,
    NO_PICTURE,
    SIDE_PX,
    bar_html,
    card_html,
    facts_html,
    faded_html,
    file_name_html,
    left_out_html,
    line_html,
    page_html,
    picture_html,
    row_html,
    table_html,
    text_html,
)
from facesim_index.display.sheet import MOST_MATCHES
from facesim_index.ingest.run import IngestSummary
from facesim_index.people.edits import PersonFace, PersonFaces
from facesim_index.people.review import DoubtfulFace, LikelyMerge, Review, Side
from facesim_index.records import Float32Array
from facesim_index.search.answers import Comparison, FaceAnswer, Match, QueryAnswer
from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
from facesim_index.upkeep.status import IndexStatus
from facesim_index.utils.notebook_hook import draws
from facesim_index.utils.text import count_text, degree_text

MOST_FACES = MOST_MATCHES
"""How many matches of a face, faces of a person or doubtful faces are shown at most."""

_MOST_OF_AN_ANSWER, _LEAST_OF_A_FACE = 300, 3

Wanted = tuple[Sequence[str], Float32Array | None]
"""The files that may show a face, and its landmarks."""


@draws(QueryAnswer)
def draw_answer(answer: QueryAnswer) -> str:
    """Draw each query face with its matches.

    Parameters
    ----------
    answer : QueryAnswer

    Returns
    -------
    str
        HTML.
    """
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
            line_html(
                f"The index is damaged: {answer.n_left_out} faces were left out.", strong=True
            )
        )
    if answer.note is not None:
        parts.append(line_html(answer.note))
    if answer.calibration is not None:
        parts.append(_legend(answer))
    return page_html(*parts)


@draws(Match)
def draw_match(match: Match) -> str:
    """Draw one match.

    Parameters
    ----------
    match : Match

    Returns
    -------
    str
        HTML.
    """
    [crop] = _crops([_of_match(match)])
    return page_html(_match_card(match, crop))


@draws(Comparison)
def draw_comparison(found: Comparison) -> str:
    """Draw two faces and how alike they are.

    Parameters
    ----------
    found : Comparison

    Returns
    -------
    str
        HTML.
    """
    crops = _crops([([found.path_a], found.landmarks_a), ([found.path_b], found.landmarks_b)])
    sides = (
        (crops[0], found.path_a, found.face_a, found.n_faces_a),
        (crops[1], found.path_b, found.face_b, found.n_faces_b),
    )
    cards = [
        card_html(crop, file_name_html(path), faded_html(f"face {face} of {n_faces}"))
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
    rows += [("caution", caution_sentence(code)) for code in found.caution]
    told = [bar_html(found.degree, found.degree_low, found.degree_high), facts_html(rows)]
    if found.note is not None:
        told.append(line_html(found.note))
    return page_html(row_html([*cards, f'<div style="min-width:16em">{"".join(told)}</div>']))


@draws(IndexStatus)
def draw_status(found: IndexStatus) -> str:
    """Draw what is in an index as a table.

    Parameters
    ----------
    found : IndexStatus

    Returns
    -------
    str
        HTML.
    """
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
    rows += [("damage", f"this may be wrong: {message}") for message in found.damage]
    return page_html(facts_html(rows))


@draws(IngestSummary)
def draw_summary(summary: IngestSummary) -> str:
    """Draw what an ingest did as a table.

    Parameters
    ----------
    summary : IngestSummary

    Returns
    -------
    str
        HTML.
    """
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
    return page_html(facts_html(rows))


@draws(PersonRow)
def draw_person(row: PersonRow) -> str:
    """Draw one person as a table.

    Parameters
    ----------
    row : PersonRow

    Returns
    -------
    str
        HTML.
    """
    return draw_people(PersonRows([row]))


@draws(PersonRows)
def draw_people(rows: PersonRows) -> str:
    """Draw people as a table, a row each.

    Parameters
    ----------
    rows : PersonRows

    Returns
    -------
    str
        HTML.
    """
    heads = ("person", "name", "faces", "pictures", "confirmed")
    cells = [
        (
            *(row.person_id, "-" if row.name is None else row.name),
            *(row.n_faces, row.n_pictures, row.n_confirmed),
        )
        for row in rows
    ]
    return page_html(table_html(heads, cells))


@draws(PersonFaces)
def draw_person_faces(faces: PersonFaces) -> str:
    """Draw the faces of a person.

    Parameters
    ----------
    faces : PersonFaces

    Returns
    -------
    str
        HTML.
    """
    shown = faces[:MOST_FACES]
    crops = _crops([(known.face.paths, known.face.landmarks) for known in shown])
    cards = [_person_face(known, crop) for known, crop in zip(shown, crops, strict=True)]
    return page_html(row_html(cards), left_out_html(len(faces) - len(shown)))


@draws(Review)
def draw_review(review: Review) -> str:
    """Draw the most doubtful faces and the most likely merges.

    Parameters
    ----------
    review : Review

    Returns
    -------
    str
        HTML.
    """
    doubtful, merges = review.doubtful[:MOST_FACES], review.merges[: MOST_FACES // 2]
    wanted: list[Wanted] = [([item.path], item.landmarks) for item in doubtful]
    wanted += [_of_side(side) for merge in merges for side in (merge.a, merge.b)]
    crops = _crops(wanted)
    asked = [_doubtful(item, crop) for item, crop in zip(doubtful, crops, strict=False)]
    sides = crops[len(doubtful) :]
    pairs = [
        _merge(merge, a, b) for merge, a, b in zip(merges, sides[::2], sides[1::2], strict=True)
    ]
    return page_html(
        line_html("Is this face that person's?", strong=True),
        row_html(asked) if asked else line_html("No face is doubtful."),
        left_out_html(len(review.doubtful) - len(doubtful)),
        line_html("Are these one person?", strong=True),
        row_html(pairs) if pairs else line_html("Nobody is likely to be somebody else, too."),
        left_out_html(len(review.merges) - len(merges)),
    )


# The parts of an answer


def _face_answer(answer: QueryAnswer, face: FaceAnswer, crop: str, cards: Sequence[str]) -> str:
    """Draw a query face beside the cards of its first matches."""
    asked = answer.person
    if asked is None:
        asked = "query" if answer.person_id is None else f"person {answer.person_id}"
    about = f"face {face.face}, {face.box.w:.0f}×{face.box.h:.0f} px"
    query = card_html(
        crop, f"<b>{text_html(asked)}</b>", file_name_html(answer.query), faded_html(about)
    )
    matches = row_html(cards) if cards else line_html("no match")
    matches += left_out_html(len(face.matches) - len(cards))
    edge = f"border-left:1px solid {FAINT};padding-left:12px"
    return (
        '<div style="display:flex;gap:12px;align-items:flex-start;margin:4px 0 12px">'
        f'{query}<div style="{edge}">{matches}</div></div>'
    )


def _match_card(match: Match, crop: str) -> str:
    head = f"{match.rank}.&ensp;<b>{text_html(degree_text(match.degree))}</b>"
    if match.degree is None:
        head = f"{match.rank}.&ensp;cosine <b>{match.cosine:.3f}</b>"
    lines = [
        file_name_html(match.path),
        faded_html(f"face {match.face_id}, cosine {match.cosine:.3f}"),
    ]
    if match.person_id is not None:
        known = _who(match.person_id, match.person)
        degree = "" if match.person_degree is None else f" {degree_text(match.person_degree)}"
        lines.append(text_html(known + degree))
    if match.same_image:
        lines.append(faded_html("the query picture"))
    if match.caution:
        lines.append(text_html(f"caution: {caution_text(match.caution)}"))
    bar = bar_html(match.degree, match.degree_low, match.degree_high)
    return card_html(crop, head, bar, *lines)


def _legend(answer: QueryAnswer) -> str:
    estimated = ""
    if answer.prior_low is not None and answer.prior_high is not None:
        estimated = (
            ", the share of genuine pairs estimated from this index "
            f"({answer.prior_low:.2g} to {answer.prior_high:.2g})"
        )
    impostors = [match.expected_strangers for face in answer.faces for match in face.matches[:1]]
    first = next((count for count in impostors if count is not None), None)
    expected = (
        ""
        if first is None
        else f" Faces of strangers expected at or above the first match: {count_text(first)}."
    )
    return line_html(
        f"Degree: probability of one person, at prior {answer.prior:.3g}{estimated}; the thin line "
        f"is its 95 % interval.{expected} Calibration {answer.calibration}, "
        f"{answer.n_faces} faces searched."
    )


def _person_face(known: PersonFace, crop: str) -> str:
    said = "confirmed" if known.confirmed else "grouped"
    return card_html(
        crop, file_name_html(known.face.path), faded_html(f"face {known.face.face_id}, {said}")
    )


def _doubtful(item: DoubtfulFace, crop: str) -> str:
    return card_html(
        crop,
        f"<b>{text_html(degree_text(item.degree))}</b>",
        bar_html(item.degree, None, None),
        text_html(_who(item.person_id, item.name)),
        file_name_html(item.path),
        faded_html(f"face {item.face_id}"),
    )


def _merge(merge: LikelyMerge, crop_a: str, crop_b: str) -> str:
    sides = [
        card_html(crop, text_html(_side_name(side)), faded_html(f"{side.n_faces} faces"))
        for side, crop in ((merge.a, crop_a), (merge.b, crop_b))
    ]
    return (
        f'<div style="border:1px solid {FAINT};border-radius:6px;padding:8px">'
        f"<b>{text_html(degree_text(merge.degree))}</b>{bar_html(merge.degree, None, None)}"
        f"{row_html(sides)}</div>"
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
    """Return each face as HTML, in the same order; a file is read once for all its faces."""
    crop = FileCrops(2 * SIDE_PX)
    drawn = [NO_PICTURE] * len(wanted)
    for place in sorted(range(len(wanted)), key=lambda number: tuple(wanted[number][0])):
        paths, landmarks = wanted[place]
        if landmarks is None:
            continue
        found = (crop(path, landmarks) for path in paths)
        pixels = next((pixels for pixels in found if pixels is not None), None)
        if pixels is not None:
            drawn[place] = picture_html(Image.fromarray(pixels))
    return drawn
