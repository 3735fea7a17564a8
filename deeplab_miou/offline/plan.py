"""Which messages of a bag belong together, known from their stamps before any image is scored.

A recording can be read twice, so nothing depends on the order in which its messages lie: labels may
be in reverse, minutes late, or all behind the last image.
"""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.accounting import Stream
from deeplab_miou.bags.images import decode_image
from deeplab_miou.errors import BagError, ConfigurationError, FrameError
from deeplab_miou.evaluation.matching import match
from deeplab_miou.evaluation.unpaired import find_lost
from deeplab_miou.images.cdr import VIDEO_TYPES, read_packet
from deeplab_miou.images.decoding import check_image
from deeplab_miou.video.continuity import Continuity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.bags.records import BagMessage
    from deeplab_miou.images.cdr import StampedImage
    from deeplab_miou.options.offline import OfflineOptions

_NS = 1_000_000_000
# What a message's partner can be besides the number of another message.
NONE, REPEATED, UNREADABLE, OUTSIDE = -1, -2, -3, -4


def read_image(message: BagMessage) -> StampedImage:
    """Return the image that a message holds, if it can be one of its type at all.

    Raises:
        FrameError: its bytes or its fields are not valid.
    """
    stamped = decode_image(message)
    check_image(stamped.image)
    return stamped


class Links(NamedTuple):
    """Which messages belong together, by their numbers.

    Attributes:
        partners: as in `Plan`.
        depths: likewise.
    """

    partners: NDArray[np.int64]
    depths: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Plan:
    """What belongs together in a bag.

    Attributes:
        partners: for each message, in the order that the reader gives them, the number of its
            partner, or `NONE`, `REPEATED` (its stamp was there before), `UNREADABLE`, or `OUTSIDE`
            (not in the section, or of a topic that is not used), int64 ``(messages,)``.
        findings: what else may be missing, a line each: what was lost while the bag was recorded,
            what the stamps of labels without an image suggest.
        lost: how many messages were lost while the bag was recorded, see `with_losses`.
        depths: for each label that has an image the number of the pair's depth image, and for each
            such depth image the number of the label, `NONE` for all other messages, int64
            ``(messages,)``.
    """

    partners: NDArray[np.int64]
    findings: list[str]
    lost: Mapping[Stream, int] = field(default_factory=dict)
    depths: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def links(self) -> Links:
        """Which messages belong together."""
        return Links(self.partners, self.depths)

    @property
    def pairs(self) -> int:
        """How many images have a label."""
        return int(np.count_nonzero(self.partners >= 0)) // 2


@dataclass(frozen=True, eq=False)
class Stamps:
    """The messages of some topics, in the order that the reader gives them.

    Attributes:
        topics: their names.
        topic: index of each message's topic, int64 ``(messages,)``.
        stamps_ns: stamp of each; when it was recorded if it is not readable, int64.
        recorded_ns: when each was recorded, int64.
        is_readable: whether it can be an image of its type at all, bool; of depth images, whether
            it has a stamp.
        begins: for a packet of a video the number of the message with which decoding must begin to
            have its picture, itself for other messages, int64; empty if no topic is a video.
    """

    topics: tuple[str, ...]
    topic: NDArray[np.int64]
    stamps_ns: NDArray[np.int64]
    recorded_ns: NDArray[np.int64]
    is_readable: NDArray[np.bool_]
    begins: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def read_stamps(
    reader: BagReader, topics: Sequence[str], *, depth_topics: Sequence[str] = ()
) -> Stamps:
    """Read the stamps of all messages of some topics, and of some topics of depth images."""
    names = tuple(dict.fromkeys((*topics, *depth_topics)))
    number = {name: k for k, name in enumerate(names)}
    videos: dict[str, _Video] = {}
    topic, stamps, recorded, is_readable = array("q"), array("q"), array("q"), bytearray()
    begins = array("q")
    # What is damaged is told when the messages are read to be scored.
    with suppress(BagError):
        for message in reader.messages(names):
            begin = len(stamps)
            # The time of recording is the best there is of what is not readable.
            stamp_ns, valid = message.timestamp_ns, False
            with suppress(FrameError):
                is_depth = message.topic in depth_topics
                stamp_ns = (decode_image if is_depth else read_image)(message).stamp_ns
                valid = True
            if message.type in VIDEO_TYPES:
                begin, valid = videos.setdefault(message.topic, _Video()).take(begin, message)
            begins.append(begin)
            is_readable.append(valid)
            stamps.append(stamp_ns)
            recorded.append(message.timestamp_ns)
            topic.append(number[message.topic])
    return Stamps(
        names,
        np.array(topic, np.int64),
        np.array(stamps, np.int64),
        np.array(recorded, np.int64),
        np.frombuffer(bytes(is_readable), np.bool_),
        np.array(begins if videos else (), np.int64),
    )


class _Video:
    """Looks at the packets of a topic, in their order."""

    def __init__(self) -> None:
        self._continuity = Continuity()
        self._numbers = array("q")

    def take(self, number: int, message: BagMessage) -> tuple[int, bool]:
        """Return where decoding must begin, and whether there may be a picture at all."""
        try:
            packet = read_packet(message.data, message.type)
        except FrameError as error:
            self._continuity.lose(str(error))
            return self._begin(number), False
        self._numbers.append(number)
        try:
            self._continuity.check(packet)
        except FrameError:
            return self._begin(number), False
        return self._begin(number), True

    def _begin(self, number: int) -> int:
        return self._numbers[self._continuity.begin] if self._numbers else number


def plan(read: Stamps, options: OfflineOptions) -> Plan:
    """Decide what belongs together.

    Equal stamps come first, then the nearest within the tolerance. Where stamps come again, as in
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
        partners,
        find_lost(
            stamps[images],
            stamps[inside[is_label[inside]]],
            stamps[labels[partner[labels] == NONE]],
            "--sync-tolerance",
        ),
        depths=_find_depths(read, partners, options, tolerance_ns),
    )


def _find_depths(
    read: Stamps, partners: NDArray[np.int64], options: OfflineOptions, tolerance_ns: int
) -> NDArray[np.int64]:
    """Return the depth image of each pair, by its image's stamp, as `Plan.depths` has them."""
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


def stream_of(message: BagMessage, options: OfflineOptions) -> Stream:
    """Return which of the two streams a message is of."""
    return Stream.LABEL if message.topic == options.label_topic else Stream.IMAGE
