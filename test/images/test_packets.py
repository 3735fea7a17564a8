"""Messages of videos, read from what rosbags serialised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_messages import serialise

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.cdr import (
    FOXGLOVE_VIDEO_TYPE,
    VIDEO_TYPES,
    read_packet,
    read_stamp,
)

STAMP_NS = 1_700_000_000_123_456_789


def wire(kind, frame, encoding, data, number=2**40 + 3, *, big=False):
    return serialise(kind, STAMP_NS, encoding, data, number, frame_id=frame, little_endian=not big)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(VIDEO_TYPES),
    frame=st.text(max_size=9).filter(lambda text: "\0" not in text),
    encoding=st.sampled_from(["", "h264", "av1", "hevc_nvenc;nv12;bgr8"]),
    size=st.integers(0, 9),
    big=st.booleans(),
)
def test_every_alignment(kind, frame, encoding, size, big):
    data = wire(kind, frame, encoding, bytes(range(size)), big=big)
    packet = read_packet(data, kind)
    assert (packet.stamp_ns, packet.frame_id, packet.encoding) == (STAMP_NS, frame, encoding)
    assert bytes(packet.data) == bytes(range(size))
    assert packet.number == (None if kind == FOXGLOVE_VIDEO_TYPE else 2**40 + 3)
    assert read_stamp(data) == STAMP_NS


@pytest.mark.parametrize("kind", VIDEO_TYPES)
def test_every_cut_is_a_frame_error(kind):
    data = wire(kind, "camera", "h264", bytes(21))
    for length in range(len(data)):
        with pytest.raises(FrameError, match=f"{length} bytes are not a valid {kind}") as caught:
            read_packet(data[:length], kind)
        assert caught.value.reason is Reason.TRUNCATED_DATA


@pytest.mark.parametrize("kind", VIDEO_TYPES)
def test_bytes_of_any_kind_are_read_or_refused(kind):
    random = np.random.default_rng(5)
    data = np.frombuffer(wire(kind, "camera", "h264", bytes(40)), np.uint8)
    for _ in range(500):
        changed = data.copy()
        changed[random.integers(4, data.size, 3)] = random.integers(0, 256, 3)
        try:
            packet = read_packet(changed.tobytes(), kind)
        except FrameError:
            continue
        assert len(packet.data) <= data.size
