"""The stamps of a bag's messages, read before any image is scored."""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.bags.images import checked_image, deserialise_image
from deeplab_miou.errors import BagError, FrameError
from deeplab_miou.images.cdr import VIDEO_TYPES, read_packet
from deeplab_miou.video.continuity import Continuity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.bags.reader import BagReader


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
                stamp_ns = (deserialise_image if is_depth else checked_image)(message).stamp_ns
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
