"""Tags as rosbags writes them, and bytes that are none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.tags.messages import KEY_VALUE_TYPE, STRING_TYPE, TAG_TYPES, read_tag

STORE = get_typestore(Stores.ROS2_JAZZY)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(TEXT, TEXT, st.booleans())
def test_as_rosbags_writes_it(key, name, little):
    message = STORE.types[KEY_VALUE_TYPE](key=key, value=name)
    data = STORE.serialize_cdr(message, KEY_VALUE_TYPE, little_endian=little)
    assert read_tag(bytes(data), KEY_VALUE_TYPE) == (key, name)
    message = STORE.types[STRING_TYPE](data=name)
    data = STORE.serialize_cdr(message, STRING_TYPE, little_endian=little)
    assert read_tag(bytes(data), STRING_TYPE) == ("", name)


@given(st.binary(max_size=40), st.sampled_from(TAG_TYPES))
def test_anything_is_a_tag_or_refused(data, kind):
    with contextlib.suppress(ValueError):
        assert all(isinstance(each, str) for each in read_tag(data, kind))


@pytest.mark.parametrize("data", [b"", b"\0\1", b"\0\1\0\0\5\0\0\0ab", b"\0\1\0\0\xff\xff\xff\xff"])
def test_cut_short(data):
    with pytest.raises(ValueError, match="std_msgs/msg/String"):
        read_tag(data, STRING_TYPE)


def test_bytes_that_are_no_utf_8():
    assert read_tag(b"\0\1\0\0\3\0\0\0\xe9t\0", STRING_TYPE) == ("", "\ufffdt")
