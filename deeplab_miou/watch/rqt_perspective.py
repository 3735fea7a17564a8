"""Makes the perspective that ships for rqt one for other node names and other classes."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

_PLUGINS = re.compile(r"plugin__(rqt_plot__Plot|rqt_image_view__ImageView)__(\d+)")
_CLASS = re.compile(r"/classes\[(\d+)\]/")


def adapted_perspective(text: str, *, publisher: str, evaluator: str, classes: int | None) -> str:
    """Return a perspective with other topics.

    rqt_plot complains of a class that there is not each time it draws, so those are left out, and
    plots of which nothing is left as well.

    Args:
        text: the perspective that ships.
        publisher: fully qualified name of the publisher.
        evaluator: that of the evaluator whose pictures are shown.
        classes: how many there are; None if that is not known, then all are kept.
    """
    content = json.loads(text)

    def renamed(topic: str) -> str:
        for before, after in (("/miou_publisher/", publisher), ("/deeplab_evaluator/", evaluator)):
            if topic.startswith(before):
                return f"{after}/{topic.removeprefix(before)}"
        return topic

    def is_there(topic: str) -> bool:
        found = _CLASS.search(topic)
        return found is None or classes is None or int(found[1]) < classes

    manager = content["groups"]["pluginmanager"]
    running = manager["keys"]["running-plugins"]
    shown: dict[str, list[int]] = ast.literal_eval(running["repr"])
    for name, group in list(manager["groups"].items()):
        found = _PLUGINS.match(name)
        keys: dict[str, Any] = group["groups"]["plugin"]["keys"] if found else {}
        for key in keys.keys() & {"topic", "topics"}:
            value = ast.literal_eval(keys[key]["repr"])
            if isinstance(value, list):
                value = [renamed(each) for each in value if is_there(each)]
            else:
                value = renamed(value)
            keys[key]["repr"] = repr(value)
            if found and not value:
                shown[found[1].replace("__", "/")].remove(int(found[2]))
                del manager["groups"][name]
    running["repr"] = repr(shown)
    return json.dumps(content, indent=2) + "\n"
