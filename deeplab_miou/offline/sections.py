"""Sections of a bag, which are scored separately and put together again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.offline.plan import NONE, OUTSIDE, Links
from deeplab_miou.offline.video import packets_to_decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.offline.stamps import Stamps


@dataclass(frozen=True, eq=False)
class Section:
    """Some of a bag's outcomes, and where to read for them.

    Attributes:
        span: from when to when the messages that it takes were recorded, nanoseconds, the end not
            included; None for a whole bag.
        links: which messages of the span belong together, numbered among these; `OUTSIDE` for
            those of other sections.
        frames: pairs in it.
        needed: which of these messages are packets of a video that must be decoded, of
            `packets_to_decode`.
    """

    span: tuple[int, int] | None
    links: Links
    frames: int
    needed: NDArray[np.bool_]


def split_bag(stamps: Stamps, links: Links, most_frames: int) -> list[Section]:
    """Divide what a bag gives into sections, so that each outcome is in one of them.

    What belongs together stays together, on whichever side of a border the two messages lie.
    Outcomes have the order in which one reading of the bag has them: that of the message that
    completes each.

    Args:
        stamps: of the bag's messages.
        links: what belongs together of them, as `plan` found it.
        most_frames: pairs in a section, at least 1.
    """
    partners, depths = links
    number = np.arange(partners.size)
    is_paired = partners >= 0
    completed_by = np.where(is_paired, np.maximum(number, partners), number)
    labels = np.flatnonzero(is_paired & (depths >= 0))
    completed_by[labels] = np.maximum(completed_by[labels], depths[labels])
    completed_by[partners[labels]] = completed_by[depths[labels]] = completed_by[labels]
    completes = np.zeros(partners.size, np.bool_)
    completes[completed_by[is_paired]] = True
    frames = int(completes.sum())
    count = max(-(-frames // most_frames), 1)
    # A reader gives the messages of a span in the same order only if that is the order of time.
    if (np.diff(stamps.recorded_ns) < 0).any():
        count = 1
    if count == 1:
        needed = packets_to_decode(stamps, [partners])
        return [Section(None, links, frames, needed)]
    before: NDArray[np.int64] = np.cumsum(completes) - completes
    section_of = np.minimum(before * count // frames, count - 1)[completed_by]
    section_of[(partners == OUTSIDE) & (depths < 0)] = -1
    return [
        _section(stamps, links, np.flatnonzero(section_of == k), completes) for k in range(count)
    ]


def _section(
    stamps: Stamps,
    links: Links,
    members: NDArray[np.int64],
    completes: NDArray[np.bool_],
) -> Section:
    partners, recorded_ns = links.partners, stamps.recorded_ns
    # A video is read from the key frame on that a picture builds on.
    first = stamps.begins[members] if stamps.begins.size else members
    start_ns = int(recorded_ns[first].min())
    stop_ns = int(recorded_ns[members].max()) + 1
    there = np.flatnonzero((recorded_ns >= start_ns) & (recorded_ns < stop_ns))

    def local(links: NDArray[np.int64], nothing: int) -> NDArray[np.int64]:
        """Return links of the members, numbered among the messages that are there."""
        wanted = links[members]
        found = np.full(there.size, nothing, np.int64)
        found[np.searchsorted(there, members)] = np.where(
            wanted >= 0, np.searchsorted(there, wanted), wanted
        )
        return found

    own = np.full(partners.size, OUTSIDE, np.int64)
    own[members] = partners[members]
    needed = packets_to_decode(stamps, [own])
    return Section(
        (start_ns, stop_ns),
        Links(local(partners, OUTSIDE), local(links.depths, NONE)),
        int(completes[members].sum()),
        needed[there] if needed.size else needed,
    )
