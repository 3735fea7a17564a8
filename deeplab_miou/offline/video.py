"""Videos of a bag: which packets must be decoded, and messages with pictures in their place."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.bags.images import serialise_image
from deeplab_miou.errors import BagError, FrameError
from deeplab_miou.images.cdr import VIDEO_TYPES, StampedImage, read_packet
from deeplab_miou.images.messages import Undecodable
from deeplab_miou.video.stream import VideoStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.images.messages import ImageMessage, VideoPacket
    from deeplab_miou.offline.stamps import Stamps
    from deeplab_miou.video.decoder import Decoded


def packets_to_decode(stamps: Stamps, partners: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Return which messages are packets that the pictures of pairs need.

    Args:
        stamps: of the bag's messages.
        partners: as `plan` found them, for each of the runs.

    Returns:
        bool ``(messages,)``; empty if no topic is a video.
    """
    size = stamps.begins.size
    needed = np.zeros(size, np.bool_)
    if not size:
        return needed
    paired = np.any([each >= 0 for each in partners], axis=0)
    for topic in range(len(stamps.topics)):
        of_topic = stamps.topic == topic
        last = np.flatnonzero(of_topic & paired & stamps.is_readable)
        edges = np.zeros(size + 1, np.int64)
        np.add.at(edges, stamps.begins[last], 1)
        np.add.at(edges, last + 1, -1)
        needed |= of_topic & (np.cumsum(edges)[:size] > 0)
    return needed


def with_pictures(
    messages: Iterable[BagMessage],
    needed: NDArray[np.bool_],
    partners: Sequence[NDArray[np.int64]],
) -> Iterator[BagMessage]:
    """Yield messages in their order, in place of packets of a video their pictures.

    A picture is a message of a raw image. Packets whose picture is not needed stay as they are.

    Args:
        messages: of a reader.
        needed: which of them must be decoded, of `packets_to_decode`.
        partners: as of `packets_to_decode`.
    """
    if not needed.size:
        yield from messages
        return
    wanted = np.any([each >= 0 for each in partners], axis=0).tolist()
    videos = _Videos(needed.tolist(), wanted)
    try:
        for message in messages:
            videos.take(message)
            yield from videos.ready()
    except BagError:
        # What ends a damaged bag comes after all that could be read.
        videos.finish()
        yield from videos.ready()
        raise
    videos.finish()
    yield from videos.ready()


@dataclass
class _Place:
    """Where a message or its picture belongs.

    Attributes:
        message: what was read; in the end what is to be yielded.
        packet: what it holds, of a video.
        is_wanted: somebody wants to see the picture.
        is_ready: the picture is there, or none is to come.
    """

    message: BagMessage
    packet: VideoPacket | None = None
    is_wanted: bool = False
    is_ready: bool = True


class _Videos:
    """The videos of a bag, and messages that wait for a picture which is shown later."""

    def __init__(self, needed: list[bool], wanted: list[bool]) -> None:
        self._needed = needed
        self._wanted = wanted
        self._streams: dict[str, VideoStream[_Place]] = {}
        self._places: deque[_Place] = deque()
        self._count = 0

    def take(self, message: BagMessage) -> None:
        """Take the next message."""
        number = self._count
        self._count += 1
        place = _Place(message)
        self._places.append(place)
        if message.type in VIDEO_TYPES and number < len(self._needed):
            place.is_wanted = self._wanted[number]
            self._decode(place, is_needed=self._needed[number])

    def ready(self) -> Iterator[BagMessage]:
        """Yield what need not wait any longer."""
        while self._places and self._places[0].is_ready:
            yield self._places.popleft().message

    def finish(self) -> None:
        """Take what is left in the decoders."""
        for stream in self._streams.values():
            _put(stream.finish())

    def _decode(self, place: _Place, *, is_needed: bool) -> None:
        message = place.message
        stream = self._streams.setdefault(message.topic, VideoStream())
        try:
            place.packet = read_packet(message.data, message.type)
        except FrameError as error:
            stream.lose(str(error))
            return
        place.is_ready = not is_needed
        try:
            _put(stream.take(place.packet, place, decode=is_needed))
        except FrameError as error:
            _fill(place, Undecodable(error.reason, str(error)))


def _put(pictures: list[Decoded[_Place]]) -> None:
    for each in pictures:
        if each.token.is_wanted:
            _fill(each.token, each.image())
        each.token.is_ready = True


def _fill(place: _Place, image: ImageMessage) -> None:
    assert place.packet is not None  # noqa: S101  (of a video)
    stamped = StampedImage(place.packet.stamp_ns, place.packet.frame_id, image)
    kind, data = serialise_image(stamped)
    place.message = place.message._replace(type=kind, data=data)
    place.is_ready = True
