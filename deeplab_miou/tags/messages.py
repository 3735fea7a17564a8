"""Tags as messages: ``std_msgs/String`` and ``diagnostic_msgs/KeyValue`` in CDR."""

from __future__ import annotations

import struct

STRING_TYPE = "std_msgs/msg/String"
KEY_VALUE_TYPE = "diagnostic_msgs/msg/KeyValue"
TAG_TYPES = (STRING_TYPE, KEY_VALUE_TYPE)

_ORDERS = {0: ">", 1: "<", 6: ">", 7: "<"}
_ENCAPSULATION = 4
_WORD = 4
# A tag is a word or two.
_LONGEST_TEXT = 65536


def read_tag(data: bytes | memoryview, type_name: str) -> tuple[str, str]:
    """Return the key, empty for a String, and the name that a serialised message holds.

    Args:
        data: the message with its encapsulation header.
        type_name: one of `TAG_TYPES`.

    Raises:
        ValueError: the bytes are not such a message.
    """
    whole = memoryview(data).cast("B")
    if len(whole) < _ENCAPSULATION or whole[1] not in _ORDERS:
        raise ValueError(f"{len(whole)} bytes are not a valid {type_name}")
    number = struct.Struct(f"{_ORDERS[whole[1]]}I")
    place, texts = _ENCAPSULATION, [""] if type_name == STRING_TYPE else []
    while len(texts) < 2:  # noqa: PLR2004  (key and name)
        if place + _WORD > len(whole):
            raise ValueError(f"{len(whole)} bytes are not a valid {type_name}")
        (length,) = number.unpack_from(whole, place)
        end = place + _WORD + length
        if end > len(whole) or length > _LONGEST_TEXT:
            raise ValueError(f"a {type_name} with a text of {length} bytes is not read")
        text = bytes(whole[place + _WORD : end]).partition(b"\0")[0].decode(errors="replace")
        texts.append(text)
        place = -(-end // _WORD) * _WORD
    return texts[0], texts[1]
