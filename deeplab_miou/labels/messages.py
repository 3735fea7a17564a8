"""Messages that name the ids of label images, in CDR: from bytes to names.

``vision_msgs/LabelInfo`` (its definition has not changed since it was added) and the
``std_msgs/String`` of JSON that Isaac Sim publishes as ``semantic_labels``.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.labels.file_format import MAX_RAW_ID
from deeplab_miou.labels.named_ids import parse_ids, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.labels.named_ids import IdNames

LABEL_INFO_TYPE = "vision_msgs/msg/LabelInfo"
STRING_TYPE = "std_msgs/msg/String"
LABEL_INFO_TYPES = (LABEL_INFO_TYPE, STRING_TYPE)

_NS = 1_000_000_000
_ORDERS = {0: ">", 1: "<", 6: ">", 7: "<"}
_MOST_BYTES = 1 << 20
_UNLABELED = "unlabeled"
_BYTE = 255


class LabelNames(NamedTuple):
    """What one message says.

    Attributes:
        names: names of each raw id, as of `plain`.
        stamp_ns: its stamp, nanoseconds; 0 for none.
        is_of_frame: it is sent with each frame, at the frame's stamp.
        threshold: the confidence below which a pixel is unlabelled; 0 for none.
    """

    names: IdNames
    stamp_ns: int
    is_of_frame: bool = False
    threshold: float = 0.0


def read_label_names(data: bytes | memoryview, type_name: str) -> LabelNames:
    """Return what a serialised message says.

    Args:
        data: the message with its encapsulation header.
        type_name: one of `LABEL_INFO_TYPES`.

    Raises:
        ValueError: the bytes are not such a message, or what it says is impossible; the text
            continues "label info ...".
    """
    whole = memoryview(data).cast("B")
    if len(whole) > _MOST_BYTES:
        raise ValueError(f"has {len(whole)} bytes, expected at most {_MOST_BYTES}")
    try:
        reader = _Reader(whole)
        if type_name == STRING_TYPE:
            names, stamp = parse_ids(reader.text())
            stamp_ns = _stamp_ns(stamp)
            return LabelNames(names, stamp_ns, is_of_frame=stamp_ns != 0)
        return _label_info(reader)
    except (struct.error, IndexError):
        raise ValueError(f"of {len(whole)} bytes is not a valid {type_name}") from None


def _label_info(reader: _Reader) -> LabelNames:
    stamp_ns = reader.number("i") * _NS + reader.number("I")
    reader.text()
    names: dict[int, str] = {}
    for _ in range(reader.number("I")):
        class_id, name = reader.number("H"), plain(reader.text())
        if names.setdefault(class_id, name) != name:
            raise ValueError(f"gives id {class_id} two names, {names[class_id]!r} and {name!r}")
    threshold = reader.real()
    # As the definition has it: the greatest id of its type is "UNLABELED".
    largest = max(names, default=0)
    for unlabeled in (MAX_RAW_ID, *([_BYTE] if largest < _BYTE else [])):
        names.setdefault(unlabeled, _UNLABELED)
    return LabelNames(
        tuple((class_id, (name,)) for class_id, name in sorted(names.items())),
        stamp_ns,
        threshold=threshold if math.isfinite(threshold) else 0.0,
    )


def _stamp_ns(stamp: Mapping[str, object]) -> int:
    """Return the stamp in the JSON: seconds and nanoseconds under one of their names."""
    parts = []
    for keys in (("sec", "secs"), ("nanosec", "nsec", "nsecs")):
        value = next((stamp[key] for key in keys if key in stamp), 0)
        try:
            parts.append(int(str(value)))
        except ValueError:
            return 0
    return parts[0] * _NS + parts[1]


class _Reader:
    """Reads the fields of a message one after the other."""

    def __init__(self, whole: memoryview) -> None:
        self._order = _ORDERS.get(whole[1])
        if self._order is None:
            raise IndexError
        self._body = whole[4:]
        self._place = 0

    def number(self, kind: str) -> int:
        return int(self._take(kind))

    def real(self) -> float:
        return float(self._take("f"))

    def _take(self, kind: str) -> float:
        field = struct.Struct(f"{self._order}{kind}")
        self._place = -(-self._place // field.size) * field.size
        (value,) = field.unpack_from(self._body, self._place)
        self._place += field.size
        return value  # type: ignore[no-any-return]

    def text(self) -> str:
        length = self.number("I")
        end = self._place + length
        if end > len(self._body):
            raise IndexError
        text = bytes(self._body[self._place : end])
        self._place = end
        return text.partition(b"\0")[0].decode(errors="replace")
