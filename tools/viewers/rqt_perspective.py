"""The perspective for rqt, in the format that ``qt_gui`` exports and imports."""

from __future__ import annotations

import json
from pathlib import Path

_RESULT, _WINDOW = "/miou_publisher/result", "/miou_publisher/window"
_MAIN_WINDOW = Path(__file__).with_name("rqt_mainwindow.json")
# As many as Cityscapes has, and as many in a plot as its legend leaves room for.
_CLASSES, _CLASSES_OF_A_PLOT = 19, 8
_SHOWN_S = 60.0
PLOTS = (
    (
        f"{_RESULT}/miou",
        f"{_RESULT}/miou_lower",
        f"{_RESULT}/miou_upper",
        f"{_RESULT}/miou_anytime_lower",
        f"{_RESULT}/miou_anytime_upper",
        f"{_WINDOW}/miou",
    ),
    *(
        tuple(
            f"{_RESULT}/classes[{index}]/iou"
            for index in range(first, min(first + _CLASSES_OF_A_PLOT, _CLASSES))
        )
        for first in range(0, _CLASSES, _CLASSES_OF_A_PLOT)
    ),
)
IMAGES = (
    "/deeplab_evaluator/overlay",
    "/miou_publisher/confusion_image",
)


def perspective() -> str:
    """Return the perspective as JSON text."""
    plugins: dict[str, list[dict[str, object]]] = {
        "rqt_plot/Plot": [
            {
                "topics": list(topics),
                "autoscroll": True,
                "x_limits": [0.0, _SHOWN_S],
                "y_limits": [0.0, 1.0],
            }
            for topics in PLOTS
        ],
        "rqt_image_view/ImageView": [{"topic": topic} for topic in IMAGES],
        "rqt_runtime_monitor/RuntimeMonitor": [{}],
    }
    running = {plugin: list(range(1, 1 + len(each))) for plugin, each in plugins.items()}
    settings = {
        f"plugin__{plugin.replace('/', '__')}__{number}": _group({}, plugin=_group(values))
        for plugin, each in plugins.items()
        for number, values in enumerate(each, 1)
    }
    # Where the plugins are: as rqt itself exported it, arranged by hand, for these very plugins.
    window = json.loads(_MAIN_WINDOW.read_text(encoding="utf-8"))
    manager = _group({"running-plugins": running}, **settings)
    content = _group({}, mainwindow=window, pluginmanager=manager)
    return json.dumps(content, indent=2) + "\n"


def _group(values: dict[str, object], **groups: object) -> dict[str, object]:
    keys = {key: {"type": "repr", "repr": repr(value)} for key, value in values.items()}
    return {"keys": keys, "groups": groups}
