"""Which segments are merged, and when."""

from collections.abc import Sequence

from facesim_index.store.records import SegmentInfo

MERGE_FAN = 8  # this many neighbouring segments of one tier become one of the next


MERGE_BASE_ROWS = 256  # segments up to this size are all of the lowest tier


SEGMENT_CAP_ROWS = 1 << 18  # no merge makes a larger segment: about 270 MB


def _tier(n_rows: int) -> int:
    """Return the size class of a segment: each is `MERGE_FAN` times the one below."""
    tier, limit = 0, MERGE_BASE_ROWS
    while n_rows > limit:
        tier, limit = tier + 1, limit * MERGE_FAN
    return tier


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
