"""Which messages of a bag belong together, known from their stamps before any image is scored.

A recording can be read twice, so nothing depends on the order in which its messages lie: labels may
be in reverse, minutes late, or all behind the last image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluation.matching import match
from deeplab_miou.evaluation.unpaired import find_lost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from deeplab_miou.accounting import Stream
    from deeplab_miou.offline.stamps import Stamps
    from deeplab_miou.options.offline import OfflineOptions

_NS = 1_000_000_000
# What a message's partner can be besides the number of another message.
NONE, REPEATED, UNREADABLE, OUTSIDE = -1, -2, -3, -4


class Links(NamedTuple):
    """Which messages belong together, by their numbers in the order that the reader gives them.

    Attributes:
        partners: for each message the number of its partner, or `NONE`, `REPEATED` (its stamp was
            there before), `UNREADABLE`, or `OUTSIDE` (not in the section, or of a topic that is not
            used), int64 ``(messages,)``.
        depths: for each label that has an image the number of the pair's depth image, and for each
            such depth image the number of the label, `NONE` for all other messages, int64
            ``(messages,)``.
    """

    partners: NDArray[np.int64]
    depths: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Plan:
    """What belongs together in a bag.

    Attributes:
        links: which messages belong together.
        findings: what else may be missing, a line each: what was lost while the bag was recorded,
            what the stamps of labels without an image suggest.
        lost: how many messages were lost while the bag was recorded, see `with_lost_messages`.
    """

    links: Links
    findings: list[str]
    lost: Mapping[Stream, int] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        """How many images have a label."""
        return int(np.count_nonzero(self.links.partners >= 0)) // 2


def plan(read: Stamps, options: OfflineOptions) -> Plan:
    """Decide what belongs together.

    Equal stamps come first, then the nearest within the tolerance. Where stamps are repeated, as in
    the recording of a bag that was played in a loop, the second message with a stamp belongs to the
    second one of the other topic with it, and so on.

    Args:
        read: the bag's messages, of the two topics and perhaps of others.
        options: topics, tolerance and section.

    Raises:
        ConfigurationError: the section begins after the last image.
    """
    wanted = [read.topics.index(name) for name in options.topics]
    used = np.flatnonzero(np.isin(read.topic, wanted))
    stamps, is_readable = read.stamps_ns[used], read.is_readable[used]
    is_label = read.topic[used] == wanted[1]
    partner = np.full(stamps.size, UNREADABLE, np.int64)
    images = np.flatnonzero(~is_label & is_readable)
    labels = np.flatnonzero(is_label & is_readable)
    partner[images] = partner[labels] = NONE
    tolerance_ns = round(options.sync_tolerance * _NS)
    image_rounds, label_rounds = _rounds(stamps[images]), _rounds(stamps[labels])
    for number in range(max(image_rounds.max(initial=0), label_rounds.max(initial=0)) + 1):
        of_images = images[image_rounds == number]
        of_labels = labels[label_rounds == number]
        if number and not (of_images.size and of_labels.size):
            partner[of_images] = partner[of_labels] = REPEATED
            continue
        for image, label in _match(stamps, of_images, of_labels, tolerance_ns):
            partner[image], partner[label] = label, image
    partner[images[image_rounds < 0]] = partner[labels[label_rounds < 0]] = REPEATED
    _cut(partner, stamps, is_label, options)
    inside = np.flatnonzero(is_readable & (partner != OUTSIDE))
    partners = np.full(len(read.topic), OUTSIDE, np.int64)
    partners[used] = np.where(partner >= 0, used[partner], partner)
    return Plan(
        Links(partners, _find_depths(read, partners, options, tolerance_ns)),
        find_lost(
            stamps[images],
            stamps[inside[is_label[inside]]],
            stamps[labels[partner[labels] == NONE]],
            "--sync-tolerance",
        ),
    )


def _find_depths(
    read: Stamps, partners: NDArray[np.int64], options: OfflineOptions, tolerance_ns: int
) -> NDArray[np.int64]:
    """Return the depth image of each pair, by its image's stamp, as `Links.depths` has them."""
    depths = np.full(partners.size, NONE, np.int64)
    if not options.depth_topic:
        return depths
    of_label = read.topic == read.topics.index(options.label_topic)
    labels = np.flatnonzero(of_label & (partners >= 0))
    stamps = read.stamps_ns.copy()
    stamps[labels] = stamps[partners[labels]]
    of_depth = read.topic == read.topics.index(options.depth_topic)
    found = np.flatnonzero(of_depth & read.is_readable)
    label_rounds, depth_rounds = _rounds(stamps[labels]), _rounds(stamps[found])
    for number in range(label_rounds.max(initial=-1) + 1):
        now = labels[label_rounds == number], found[depth_rounds == number]
        for label, depth in _match(stamps, *now, tolerance_ns):
            depths[label], depths[depth] = depth, label
    return depths


def _match(
    stamps: NDArray[np.int64],
    images: NDArray[np.int64],
    labels: NDArray[np.int64],
    tolerance_ns: int,
) -> Iterator[tuple[int, int]]:
    """Yield the numbers of images and labels that belong together, of one round each."""
    image_at = dict(zip(stamps[images].tolist(), images.tolist(), strict=True))
    label_at = dict(zip(stamps[labels].tolist(), labels.tolist(), strict=True))
    for image_ns, label_ns in match(list(image_at), list(label_at), tolerance_ns):
        yield image_at[image_ns], label_at[label_ns]


def _rounds(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each stamp was there before it; -1 where time stood still in between."""
    seen: dict[int, int] = {}
    rounds = np.empty(stamps.size, np.int64)
    last = None
    for number, stamp in enumerate(stamps.tolist()):
        if stamp == last:
            rounds[number] = -1
            continue
        rounds[number] = seen[stamp] = seen.get(stamp, -1) + 1
        last = stamp
    return rounds


def _cut(
    partner: NDArray[np.int64],
    stamps: NDArray[np.int64],
    is_label: NDArray[np.bool_],
    options: OfflineOptions,
) -> None:
    """Leave out what is not in the section; a label goes where its image goes."""
    if not options.start and not options.duration:
        return
    times = stamps[~is_label & (stamps != 0)]  # a stamp that was never set is no beginning
    if not times.size:
        return
    first_ns, last_ns = int(times.min()), int(times.max())
    start_ns = first_ns + round(options.start * _NS)
    if start_ns > last_ns:
        raise ConfigurationError(
            f"start is {options.start:g} s, but the images of bag {options.bag!r} end after "
            f"{(last_ns - first_ns) / _NS:.1f} s"
        )
    is_inside = stamps >= start_ns
    if options.duration:
        is_inside &= stamps < start_ns + round(options.duration * _NS)
    paired = np.flatnonzero(is_label & (partner >= 0))
    is_inside[paired] = is_inside[partner[paired]]
    partner[~is_inside] = OUTSIDE
