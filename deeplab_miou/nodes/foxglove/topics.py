"""One topic of the graph: its channel, and a subscription while somebody watches."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, IMAGE_TYPES, read_image
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.nodes.ros.conversions import ns_to_time
from deeplab_miou.pictures.reduced import reduced_jpeg
from deeplab_miou.watch.foxglove_server import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.nodes.ros.distributions import TopicEndpointInfo
    from deeplab_miou.watch.foxglove_server import ServedTopic

_DEPTH = 50
_MAX_SIDE = 640
# Several nodes may each publish a message on a latched topic, such as /tf_static.
_MOST_LATCHED = 16


class TooLargeError(DeeplabMiouError):
    """A message would take too much memory while a viewer does not take it."""


def shown_type(type_name: str) -> str:
    """Return the type that viewers get for messages of a type."""
    return COMPRESSED_TYPE if type_name in IMAGE_TYPES else type_name


def matching_profile(type_name: str, offers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """Return the strongest profile that all publishers of a topic can serve."""
    profiles = [offer.qos_profile for offer in offers]
    reliable = all(each.reliability is ReliabilityPolicy.RELIABLE for each in profiles)
    latched = all(each.durability is DurabilityPolicy.TRANSIENT_LOCAL for each in profiles)
    return QoSProfile(
        # Pictures are shown one at a time, and the newest is wanted.
        depth=1 if type_name in IMAGE_TYPES else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE),
    )


class Relay:
    """Hands messages of one topic on to its channel.

    Pictures are made smaller and sent as JPEG, so many a second: raw ones would crowd out scores on
    the way to a viewer on a slow link. All else is passed on as it is.

    Args:
        type_name: type of the topic.
        channel: where viewers watch it.
        picture_period_s: least time between two pictures, seconds.
        repeats: how often to offer it again while nobody watches it.

    Attributes:
        repeats: how many of these are left.
        idle_looks: in how many looks at the graph, up to the last, nobody published or watched it.
    """

    def __init__(
        self, type_name: str, channel: ServedTopic, picture_period_s: float, repeats: int
    ) -> None:
        self.type_name = type_name
        self.channel = channel
        self.repeats = repeats
        self.idle_looks = 0
        self._picture_period_s = picture_period_s
        self._picture_s = -picture_period_s
        self._latched: deque[tuple[bytes, int]] = deque(maxlen=0)

    def begin(self, profile: QoSProfile, publishers: int) -> None:
        """Note what is subscribed from now on."""
        is_latched = profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
        self._latched = deque(maxlen=min(publishers, _MOST_LATCHED) if is_latched else 0)

    def take(self, data: bytes) -> None:
        """Hand on a message.

        Args:
            data: in CDR.

        Raises:
            FrameError: it should be a picture and is none.
            TooLargeError: it is not a picture, and too large to be kept for viewers.
        """
        if self.type_name in IMAGE_TYPES:
            now_s = time.monotonic()
            if now_s - self._picture_s < self._picture_period_s:
                return
            self._picture_s = now_s
            data = _as_jpeg(data, self.type_name)
        elif len(data) > MAX_BYTES:
            raise TooLargeError(f"it has {len(data)} bytes, expected at most {MAX_BYTES}")
        now_ns = time.time_ns()
        self._latched.append((data, now_ns))
        self.channel.send(data, now_ns)

    def repeat(self, client: int) -> None:
        """Send a viewer that comes later what it would have got as a subscriber."""
        for data, time_ns in self._latched:
            self.channel.send(data, time_ns, client=client)


def _as_jpeg(data: bytes, type_name: str) -> bytes:
    stamped = read_image(data, type_name)
    jpeg = reduced_jpeg(decode_color(stamped.image), _MAX_SIDE)
    message = CompressedImage(format="jpeg")
    message.header.stamp = ns_to_time(stamped.stamp_ns)
    message.header.frame_id = stamped.frame_id
    message.data.frombytes(jpeg)
    made: bytes = serialize_message(message)
    return made
