"""Packets that are not what they should be: refused, counted, and bounded before decoding."""

import time

import numpy as np
import pytest
from video_files import decode, encode, packet_of, pictures

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.messages import RawImage
from deeplab_miou.video.stream import VideoStream

CODECS = ("h264", "h265", "av1", "vp9")
START = b"\0\0\0\1"


class Writer:
    """Writes headers bit by bit, as the standards have them."""

    def __init__(self):
        self.bits = ""

    def put(self, value, count):
        self.bits += f"{value:0{count}b}"
        return self

    def golomb(self, *values):
        for value in values:
            code = f"{value + 1:b}"
            self.bits += "0" * (len(code) - 1) + code
        return self

    def __bytes__(self):
        whole = self.bits + "1"
        whole += "0" * (-len(whole) % 8)
        return int(whole, 2).to_bytes(len(whole) // 8, "big")


def bomb(codec, side):
    """Return a packet of some bytes that declares a picture of so many pixels a side."""
    if codec == "h264":
        sequence = Writer().put(66, 8).put(0, 8).put(62, 8).golomb(0, 0, 0, 0, 16).put(0, 1)
        sequence.golomb(side // 16 - 1, side // 16 - 1).put(1, 1).put(0, 3)
        picture = Writer().golomb(0, 0).put(0, 2).golomb(0, 0, 0).put(0, 20)
        slice_ = Writer().golomb(0, 7, 0).put(0, 4).golomb(0, 0).put(0, 16)
        units = ((0x67, sequence), (0x68, picture), (0x65, slice_))
        return b"".join(START + bytes([kind]) + bytes(each) for kind, each in units)
    if codec == "h265":
        sequence = Writer().put(0, 8).put(0, 96).golomb(0, 1, side, side).put(0, 20)
        slice_ = Writer().put(1, 1).put(0, 40)
        return START + b"\x42\x01" + bytes(sequence) + START + b"\x26\x01" + bytes(slice_)
    if codec == "vp9":
        return bytes(Writer().put(0x82498342, 32).put(0, 4).put(side - 1, 16).put(side - 1, 16))
    sequence = Writer().put(0, 7).put(0, 5 + 12 + 5).put(0xFF, 8)
    sequence.put(side - 1, 16).put(side - 1, 16).put(0, 40)
    body = bytes(sequence)
    return b"\x12\x00\x0a" + bytes([len(body)]) + body + b"\x32\x04\x10\0\0\0"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("side", [16384, 8192])
def test_sizes_that_no_camera_has_are_refused_before_decoding(codec, side):
    data = bomb(codec, side)
    assert len(data) < 100
    stream = VideoStream()
    with pytest.raises(FrameError, match=f"claims {side}x{side} pixels") as caught:
        stream.take(packet_of(1, codec, data), 1)
    assert caught.value.reason is Reason.BAD_SIZE
    assert stream._decoder is None


@pytest.mark.parametrize("codec", CODECS)
def test_the_decoder_has_a_bound_of_its_own(codec, monkeypatch):
    """In case that it finds another size than we have read."""
    monkeypatch.setattr("deeplab_miou.video.decoder.MAX_PIXELS", 96 * 128 - 1)
    ((place, _, data),) = encode(codec, pictures(1))
    stream = VideoStream()
    (decoded,) = [*stream.take(packet_of(place, codec, data), place), *stream.finish()]
    assert decoded.image().reason in (Reason.TRUNCATED_DATA, Reason.LOST_REFERENCE)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_one_message_holds_one_picture(codec):
    packets = encode(codec, pictures(12))
    joined = packets[1][2] + packets[2][2]
    stream = VideoStream()
    stream.take(packet_of(0, codec, packets[0][2]), 0)
    with pytest.raises(FrameError, match="holds 2 pictures in 2 parts") as caught:
        stream.take(packet_of(1, codec, joined), 1)
    assert caught.value.reason is Reason.BAD_ENCODING
    with pytest.raises(FrameError) as caught:
        stream.take(packet_of(3, codec, packets[3][2]), 3)
    assert caught.value.reason is Reason.LOST_REFERENCE
    (decoded,) = stream.take(packet_of(8, codec, packets[8][2]), 8)
    assert isinstance(decoded.image(), RawImage)


def split_parameters(data):
    """Return the parameter sets of a packet, and the rest of it."""
    units = [START + each for each in data.replace(START, START[1:]).split(START[1:]) if each]
    is_picture = [each[4] & 31 in (1, 5) for each in units]
    first = is_picture.index(True)
    return b"".join(units[:first]), b"".join(units[first:])


def test_parameter_sets_may_come_in_a_message_of_their_own():
    packets = encode("h264", pictures(12))
    expected = decode("h264", packets)
    stream = VideoStream()
    parameters, first = split_parameters(packets[0][2])
    with pytest.raises(FrameError, match="holds no picture") as caught:
        stream.take(packet_of(0, "h264", parameters), 0)
    assert caught.value.reason is Reason.BAD_ENCODING
    for place, is_key, data in packets:
        bare = (split_parameters(data)[1] if place else first) if is_key else data
        (decoded,) = stream.take(packet_of(place, "h264", bare), place)
        assert bytes(decoded.image().data) == expected[place].tobytes()


def test_without_parameter_sets_there_are_no_pictures():
    packets = encode("h264", pictures(2))
    stream = VideoStream()
    with pytest.raises(FrameError, match="a key frame of h264 came without parameter sets") as it:
        stream.take(packet_of(0, "h264", split_parameters(packets[0][2])[1]), 0)
    assert it.value.reason is Reason.NO_KEY_FRAME


@pytest.mark.parametrize(
    ("encoding", "data", "reason"),
    [
        ("mpeg4", b"\0\0\1", Reason.BAD_ENCODING),
        ("", b"", Reason.BAD_ENCODING),
        ("h264", b"", Reason.BAD_ENCODING),
        ("h265", b"\0\0\0\0", Reason.BAD_ENCODING),
        ("h264", b"\0\0\1", Reason.BAD_ENCODING),
        ("h264", START + b"\x67", Reason.TRUNCATED_DATA),
        ("h265", START + b"\x42", Reason.TRUNCATED_DATA),
        ("av1", b"\xff\xff", Reason.TRUNCATED_DATA),
        ("av1", b"", Reason.BAD_ENCODING),
        ("vp9", b"", Reason.TRUNCATED_DATA),
        ("vp9", b"\x82\0\0\0\0", Reason.TRUNCATED_DATA),
    ],
)
def test_what_is_no_packet_is_refused(encoding, data, reason):
    with pytest.raises(FrameError) as caught:
        VideoStream().take(packet_of(0, encoding, data), 0)
    assert caught.value.reason is reason


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_packets_end_in_a_picture_or_a_reason(codec):
    packets = encode(codec, pictures(10))
    random = np.random.default_rng(11)
    began_s = time.monotonic()
    for _ in range(30):
        stream, ended = VideoStream(), []
        for place, _, data in packets:
            changed = bytearray(data)
            for _ in range(random.integers(0, 3)):
                changed[random.integers(0, min(len(changed), 200))] = random.integers(0, 256)
            try:
                ended += stream.take(packet_of(place, codec, bytes(changed)), place)
            except FrameError:
                ended.append(None)
        ended += stream.finish()
        assert len(ended) == len(packets)
        for each in ended:
            if each is not None:
                each.image()
    assert time.monotonic() - began_s < 60
