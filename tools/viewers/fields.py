"""Topics and the fields of their messages, as the message definitions have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = ROOT / "deeplab_miou_msgs" / "msg"

# What nodes publish under their default names.
TOPICS = {
    "/deeplab_evaluator/frame": "deeplab_miou_msgs/msg/FrameScore",
    "/deeplab_evaluator/ground_truth": "sensor_msgs/msg/Image",
    "/deeplab_evaluator/overlay": "sensor_msgs/msg/Image",
    "/miou_publisher/result": "deeplab_miou_msgs/msg/MeanIoU",
    "/miou_publisher/window": "deeplab_miou_msgs/msg/MeanIoU",
    "/miou_publisher/confusion_image": "sensor_msgs/msg/Image",
    # As compare.launch.py calls them.
    "/deeplab_evaluator_a/overlay": "sensor_msgs/msg/Image",
    "/deeplab_evaluator_b/overlay": "sensor_msgs/msg/Image",
    "/miou_comparer/comparison": "deeplab_miou_msgs/msg/Comparison",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}
_STEP = re.compile(r"(?P<name>\w+)(?P<index>\[[\d:]*\])?(?P<filter>\{[^}]*\})?")
_ARRAY, _SEQUENCE, _NAMED = 3, 4, 2


class FieldError(ValueError):
    """A path leads to no field of a message."""


def definitions() -> dict[str, Any]:
    """Return the fields of every message type: ROS 2's own, and ours as the files are now."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(MESSAGES.glob("*.msg")):
        name = f"deeplab_miou_msgs/msg/{path.stem}"
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    return dict(store.fielddefs)


def type_of(path: str, fields: dict[str, Any], topics: dict[str, str]) -> str:
    """Return the type at the end of a path in Foxglove's notation, such as ``/a/b.c[:].d``.

    Args:
        path: topic, then fields; a filter may follow either, and an index a field.
        fields: of `definitions`.
        topics: type of each topic.

    Returns:
        Name of a message or of a plain type, with ``[]`` for all elements of an array.

    Raises:
        FieldError: there is no such topic or field, or an index where there is no array.
    """
    topic = re.split(r"[.{]", path, maxsplit=1)[0]
    rest = path.removeprefix(topic)
    condition, _, rest = rest.partition("}") if rest.startswith("{") else ("", "", rest)
    if topic not in topics:
        raise FieldError(f"{path}: there is no topic {topic}")
    kind, is_list = topics[topic], False
    _check_condition(path, condition, kind, fields)
    # Names in a filter's text may have dots, fields have none.
    for step in _STEP.finditer(rest):
        if kind not in fields:
            raise FieldError(f"{path}: {kind} has no field {step['name']}")
        (node, detail) = dict(fields[kind][1]).get(step["name"], (None, None))
        if node is None:
            raise FieldError(f"{path}: {kind} has no field {step['name']}")
        is_array = node in (_ARRAY, _SEQUENCE)
        if step["index"] and not is_array:
            raise FieldError(f"{path}: {step['name']} of {kind} is no array")
        node, detail = detail[0] if is_array else (node, detail)
        kind = detail if node == _NAMED else detail[0]
        is_list |= is_array and (not step["index"] or ":" in step["index"])
        _check_condition(path, step["filter"] or "", kind, fields)
    return f"{kind}[]" if is_list else kind


def _check_condition(path: str, condition: str, kind: str, fields: dict[str, Any]) -> None:
    for key in re.findall(r"(\w+)==", condition):
        if key not in dict(fields[kind][1]):
            raise FieldError(f"{path}: {kind} has no field {key}")
