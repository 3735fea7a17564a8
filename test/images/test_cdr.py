from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_miou.accounting import Reason
from deeplab_miou.bags.images import serialise_image, typestore
from deeplab_miou.errors import FrameError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, RAW_TYPE, StampedImage, read_image, read_stamp
from deeplab_miou.images.messages import CompressedImage, RawImage

RAW = StampedImage(
    -5_000_000_003, "caméra", RawImage(2, 3, "rgb8", is_bigendian=True, step=9, data=bytes(18))
)
FILE = StampedImage(7, "", CompressedImage("rgb8; png compressed ", b"\x89PNG and more"))


def wire(stamped, *, big=False):
    """Serialise by rosbags, in either byte order."""
    name, little = serialise_image(stamped)
    if not big:
        return bytes(little)
    message = typestore().deserialize_cdr(little, name)
    return bytes(typestore().serialize_cdr(message, name, little_endian=False))


def same(left, right):
    fields = [f for f in left.image.__slots__ if f != "data"]
    return (
        left[:2] == right[:2]
        and all(getattr(left.image, f) == getattr(right.image, f) for f in fields)
        and bytes(left.image.data) == bytes(right.image.data)
    )


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("stamped", [RAW, FILE], ids=["raw", "compressed"])
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_reads_what_another_implementation_wrote(stamped, buffer, big):
    name = RAW_TYPE if stamped is RAW else COMPRESSED_TYPE
    data = buffer(wire(stamped, big=big))
    found = read_image(data, name)
    assert same(found, stamped)
    assert read_stamp(data) == stamped.stamp_ns
    assert np.shares_memory(np.frombuffer(data, np.uint8), found.image.data)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    frame=st.text(max_size=9).filter(lambda text: "\0" not in text),
    encoding=st.sampled_from(["", "mono8", "16UC1", "bayer_rggb8"]),
    size=st.integers(0, 9),
    big=st.booleans(),
)
def test_every_alignment(frame, encoding, size, big):
    image = RawImage(1, size, encoding, is_bigendian=False, step=size, data=bytes(range(size)))
    stamped = StampedImage(10**18 + 1, frame, image)
    assert same(read_image(wire(stamped, big=big), RAW_TYPE), stamped)
    stamped = StampedImage(0, frame, CompressedImage(encoding, bytes(size)))
    assert same(read_image(wire(stamped, big=big), COMPRESSED_TYPE), stamped)


@pytest.mark.parametrize("stamped", [RAW, FILE], ids=["raw", "compressed"])
def test_every_cut_is_a_frame_error(stamped):
    name = RAW_TYPE if stamped is RAW else COMPRESSED_TYPE
    data = wire(stamped)
    for length in range(len(data)):
        with pytest.raises(FrameError, match=f"{length} bytes are not a valid {name}") as caught:
            read_image(data[:length], name)
        assert caught.value.reason is Reason.TRUNCATED_DATA
        assert read_stamp(data[:length]) == (stamped.stamp_ns if length >= 16 else None)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=90), name=st.sampled_from([RAW_TYPE, COMPRESSED_TYPE]))
def test_garbage_is_read_or_refused_and_nothing_else(data, name):
    reason = None
    try:
        read_image(data, name)
    except FrameError as error:
        reason = error.reason
    assert reason in (None, Reason.TRUNCATED_DATA)
    read_stamp(data)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: b"\0\x03" + data[2:], "encapsulation 3 is none of"),
        (lambda data: data + bytes(4), "4 bytes follow the 18 bytes of data"),
        (lambda data: data[:12] + b"\xff\xff\xff\x7f" + data[16:], "a text of 2147483647 bytes"),
        (lambda data: data[:-22] + b"\xff\xff\xff\xff" + data[-18:], "data of 4294967295 bytes"),
    ],
)
def test_says_what_is_wrong(change, expected):
    data = wire(RAW)
    with pytest.raises(FrameError, match=expected):
        read_image(change(data), RAW_TYPE)


@pytest.mark.parametrize(
    "stamped",
    [
        RAW._replace(frame_id="\U0001f600" * 2**18),
        FILE._replace(frame_id="x" * 1024),
        RAW._replace(image=RawImage(1, 1, "m" * 1024, is_bigendian=False, step=1, data=b"0")),
        FILE._replace(image=CompressedImage("p" * 1024, b"")),
    ],
)
def test_long_texts_are_no_names(stamped):
    name = RAW_TYPE if isinstance(stamped.image, RawImage) else COMPRESSED_TYPE
    with pytest.raises(FrameError, match=r"a text of \d+ bytes, expected at most 1024") as caught:
        read_image(wire(stamped), name)
    assert caught.value.reason is Reason.TRUNCATED_DATA
    assert read_stamp(wire(stamped)) == stamped.stamp_ns
