"""Merge segments: after a commit when enough of one size have gathered, or all that can be."""

import logging
from collections.abc import Sequence

import numpy as np

from facesim_index.errors import IndexDamagedError
from facesim_index.store.catalog import index_state, writing
from facesim_index.store.catalog.transaction import Transaction, require_whole
from facesim_index.store.folder.segment_folder import SegmentFolder
from facesim_index.store.records import SegmentId, SegmentInfo
from facesim_index.store.segments.writer import merged_rows
from facesim_index.store.sqlite.connection import Catalog

MERGE_FAN = 8  # this many neighbouring segments of one tier become one of the next
MERGE_BASE_ROWS = 256  # segments up to this size are all of the lowest tier
SEGMENT_CAP_ROWS = 1 << 18  # no merge makes a larger segment: about 270 MB

logger = logging.getLogger(__name__)


def compact(catalog: Catalog, folder: SegmentFolder) -> None:
    """Rewrite the segments without removed faces, as few as may be, and shrink the catalog.

    Parameters
    ----------
    catalog : Catalog
        Writable.
    folder : SegmentFolder
        Of that index.

    Raises
    ------
    IndexDamagedError
        A segment that must be rewritten is damaged, or a row about segments or removed faces.
    StorageError
        The disk refused.
    """
    with catalog.read() as transaction:
        _require_sound_rows(transaction)
        segments = index_state.segment_infos(transaction)
        removed = index_state.tombstones(transaction)
    for group in compaction_groups(segments):
        spans = [(segment.first_face_id, segment.last_face_id) for segment in group]
        dirty = any(np.any((removed >= low) & (removed <= high)) for low, high in spans)
        if len(group) > 1 or dirty:
            replace_segments(catalog, folder, group)
    catalog.shrink()
    folder.write_missing_coarse()


def merge_tail(catalog: Catalog, folder: SegmentFolder) -> None:
    """Merge the newest segments when enough of one tier have gathered."""
    while True:
        with catalog.read() as transaction:
            segments = index_state.segment_infos(transaction)
        tail = mergeable_tail(segments)
        if not tail:
            return
        try:
            replace_segments(catalog, folder, tail)
        except IndexDamagedError as error:
            # Merging is housekeeping: what was ingested is safe, and `verify` will tell.
            logger.warning("segments were not merged: %s", error)
            return


def replace_segments(catalog: Catalog, folder: SegmentFolder, old: Sequence[SegmentInfo]) -> None:
    """Let one segment without the removed faces take the place of neighbouring ones.

    Parameters
    ----------
    catalog : Catalog
        Writable.
    folder : SegmentFolder
        Of that index.
    old : sequence of SegmentInfo
        Neighbours, in the order of their face ids.

    Raises
    ------
    IndexDamagedError
        One of them is damaged: it is left as it is.
    """
    opened = folder.open(old)
    for segment in opened:
        segment.require_whole()  # or damage would get a hash of its own
    with catalog.write() as transaction:
        _require_sound_rows(transaction)
        state = index_state.state(transaction)
        ids, blocks = merged_rows(opened, index_state.tombstones(transaction))
        new: list[SegmentInfo] = []
        if len(ids):
            segment_id = SegmentId(state.next_segment_id)
            new = [folder.write(segment_id, ids, blocks)]
        writing.replace_segments(transaction, [segment.segment_id for segment in old], new)
        writing.advance(transaction, next_segment_id=state.next_segment_id + len(new))
    folder.drop_files(old)


def mergeable_tail(segments: Sequence[SegmentInfo]) -> list[SegmentInfo]:
    """Return the newest segments when there are `MERGE_FAN` of about one size, else nothing.

    Only neighbours are merged, so that the id ranges of segments never overlap.
    """
    tail = list(segments[-MERGE_FAN:])
    if len(tail) < MERGE_FAN or sum(segment.n_rows for segment in tail) > SEGMENT_CAP_ROWS:
        return []
    tiers = [_tier(segment.n_rows) for segment in tail]
    return tail if max(tiers) <= tiers[-1] else []


def compaction_groups(segments: Sequence[SegmentInfo]) -> list[list[SegmentInfo]]:
    """Divide segments into runs of neighbours that fit into one segment each."""
    groups: list[list[SegmentInfo]] = []
    room = 0
    for segment in segments:
        if not groups or segment.n_rows > room:
            groups.append([])
            room = SEGMENT_CAP_ROWS
        groups[-1].append(segment)
        room -= segment.n_rows
    return groups


def _require_sound_rows(transaction: Transaction) -> None:
    """Refuse to merge by damaged rows: a tombstone says whose embedding is left out for good."""
    for table in ("index_state", "segment", "tombstone"):
        require_whole(transaction, table)


def _tier(n_rows: int) -> int:
    """Return the size class of a segment: each is `MERGE_FAN` times the one below."""
    tier, limit = 0, MERGE_BASE_ROWS
    while n_rows > limit:
        tier, limit = tier + 1, limit * MERGE_FAN
    return tier
