"""Videos as ordinary tools write them: coded by PyAV, serialised by rosbags."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from deeplab_miou.images.messages import VideoPacket

av = pytest.importorskip("av", reason="PyAV is not installed: requirements-video.txt")

ENCODERS = {"h264": "libx264", "h265": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
# What the transport's documentation advises: nothing is held back.
LIVE = {
    "h264": {"tune": "zerolatency"},
    "h265": {"tune": "zerolatency", "x265-params": "log-level=none"},
    "av1": {"preset": "12", "svtav1-params": "pred-struct=1:lookahead=0"},
    "vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
}
# What the encoders do if nobody says anything: B-frames, where they have such.
BIDIRECTIONAL = {
    "h264": {},
    "h265": {"x265-params": "log-level=none:bframes=2"},
    "av1": {"preset": "12"},
    "vp9": {},
}


def pictures(count, size=(96, 128)):
    """Yield RGB pictures in which everything moves."""
    noise = np.random.default_rng(3).integers(0, 256, (size[0], 2 * size[1], 3)).astype(np.uint8)
    ground = cv2.GaussianBlur(noise, (0, 0), 3)
    for k in range(count):
        picture = np.ascontiguousarray(ground[:, 3 * k % size[1] :][:, : size[1]])
        picture[20:50, 10 + 2 * k % 60 : 40 + 2 * k % 60] = (200, 9 * k % 256, 40)
        yield picture


def encode(codec, images, options=None, *, gop=8, b_frames=0, pix_fmt="yuv420p", **properties):
    """Return (place of the picture, is a key frame, data) of each packet, in their order."""
    images = list(images)
    context = av.CodecContext.create(ENCODERS[codec], "w")
    context.height, context.width = images[0].shape[:2]
    context.pix_fmt = pix_fmt
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.gop_size, context.max_b_frames = gop, b_frames
    context.options = LIVE[codec] if options is None else options
    for name, value in properties.items():
        setattr(context, name, value)
    packets = []
    for k, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = k
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(packet.pts, packet.is_keyframe, bytes(packet)) for packet in packets]


def decode(codec, packets):
    """Return by place what PyAV decodes, its own way: all packets, then all that is left."""
    context = av.CodecContext.create({"av1": "libdav1d", "h265": "hevc"}.get(codec, codec), "r")
    frames = []
    for place, _, data in packets:
        packet = av.Packet(data)
        packet.pts = place
        frames += context.decode(packet)
    frames += context.decode(None)
    return {frame.pts: frame.to_ndarray(format="rgb24") for frame in frames}


def packet_of(stamp_ns, codec, data, number=None):
    return VideoPacket(stamp_ns, "camera", codec, data, number)
