"""The layout for Foxglove: panels by ``foxglove-sdk``'s types, in the app's own file format.

The SDK writes layouts as notebooks take them (``version``, ``content``). "Import from file" in the
app takes what the app itself exports (``configById``, a tree of splits), so that is written here.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from foxglove import layouts as fox

# As on the live page: the palette of Okabe and Ito, which the colour-blind can tell apart.
_BLUE, _SKY, _ORANGE, _GREEN, _RED = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"
_RESULT, _WINDOW, _FRAME = (
    "/miou_publisher/result",
    "/miou_publisher/window",
    "/deeplab_evaluator/frame",
)
_REPLAY = "/bag_replayer: replay"
# As many as Cityscapes has; the series of classes that there are not stay empty.
_CLASSES = 19
_SHOWN_S = 120.0
# The app's names of panels, where the SDK has others.
_PANEL_TYPES = {
    "DiagnosticsSummary": "DiagnosticSummary",
    "DiagnosticsDetail": "DiagnosticStatusPanel",
}
_Style = Literal["solid", "dashed", "dotted"]


class Split(NamedTuple):
    """Two parts beside or above each other.

    Attributes:
        direction: ``row`` or ``column``.
        percent: size of the first part.
        first: key of a panel, or a split.
        second: likewise.
    """

    direction: Literal["row", "column"]
    percent: int
    first: Split | str
    second: Split | str

    def to_tree(self) -> dict[str, Any]:
        """Return it as the app stores it."""
        first, second = (
            each if isinstance(each, str) else each.to_tree() for each in (self.first, self.second)
        )
        return {
            "direction": self.direction,
            "splitPercentage": self.percent,
            "first": first,
            "second": second,
        }


def layout() -> str:
    """Return the layout as JSON text."""
    panels = {}
    for name, panel in _panels().items():
        made = json.loads(panel.to_json())
        kind = _PANEL_TYPES.get(made["panelType"], made["panelType"])
        panels[f"{kind}!{name}"] = made["config"] | {"foxglovePanelTitle": made["title"]}
    keys = {key.partition("!")[2]: key for key in panels}
    tabs = [{"title": title, "layout": _keyed(tree, keys).to_tree()} for title, tree in _TABS]
    panels["Tab!tabs"] = {"activeTabIdx": 0, "tabs": tabs}
    content = {
        "configById": panels,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": "Tab!tabs",
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


_TABS = (
    (
        "Score",
        Split(
            "row",
            60,
            Split("column", 36, "miou", Split("column", 48, "frame_miou", "classes_now")),
            Split(
                "column",
                36,
                Split("row", 50, "overlay", "truth"),
                Split("column", 55, "summary", "replay"),
            ),
        ),
    ),
    (
        "Classes",
        Split(
            "row",
            52,
            Split("column", 50, "class_table", "classes_over_time"),
            "confusion",
        ),
    ),
    (
        "Frames",
        Split(
            "row",
            55,
            Split("column", 40, "frames", Split("column", 50, "outcomes", "latency")),
            Split("column", 50, "account", "evaluator"),
        ),
    ),
)


def _keyed(tree: Split, keys: dict[str, str]) -> Split:
    first, second = (
        keys[each] if isinstance(each, str) else _keyed(each, keys)
        for each in (tree.first, tree.second)
    )
    return Split(tree.direction, tree.percent, first, second)


def _panels() -> dict[str, fox.BasePanel]:
    return {
        "miou": _plot(
            "mIoU with its 95 % interval (blue), bounds at every moment (dotted), window (orange)",
            [
                _series(f"{_RESULT}.miou", "mIoU", _BLUE, size=3),
                _series(f"{_RESULT}.miou_lower", "95 % from", _SKY),
                _series(f"{_RESULT}.miou_upper", "95 % to", _SKY),
                _series(f"{_RESULT}.miou_anytime_lower", "anytime from", _GREEN, "dotted"),
                _series(f"{_RESULT}.miou_anytime_upper", "anytime to", _GREEN, "dotted"),
                _series(f"{_WINDOW}.miou", "window", _ORANGE),
            ],
            limits=None,
        ),
        "frame_miou": _plot(
            "mIoU of each frame alone (dips: the worst frames), and of all frames so far",
            [
                _series(f"{_FRAME}.miou", "frame", _RED),
                _series(f"{_RESULT}.miou", "mIoU", _BLUE, size=3),
            ],
            # All of a recording, so that its worst frames are seen at once.
            shown_s=None,
        ),
        "classes_now": fox.PlotPanel(
            title="IoU of each class with its 95 % interval, by class id",
            config=fox.PlotConfig(
                paths=[
                    _points(f"{_RESULT}.classes[:].iou", "IoU", _BLUE, size=5),
                    _points(f"{_RESULT}.classes[:].iou_lower", "95 % from", _SKY, size=2),
                    _points(f"{_RESULT}.classes[:].iou_upper", "95 % to", _SKY, size=2),
                ],
                x_axis_val="index",
                min_y_value=0,
                max_y_value=1,
                show_legend=False,
                show_x_axis_labels=True,
                show_y_axis_labels=True,
                is_synced=False,
            ),
        ),
        "overlay": _image("Prediction over the image", "/deeplab_evaluator/overlay"),
        "truth": _image("Ground truth over the image", "/deeplab_evaluator/ground_truth"),
        "confusion": _image("Confusion matrix", "/miou_publisher/confusion_image"),
        "summary": fox.DiagnosticsSummaryPanel(
            title="Diagnostics",
            config=fox.DiagnosticsSummaryConfig(
                min_level=0,
                pinned_ids=[],
                topic_to_render="/diagnostics",
                hardware_id_filter="",
                sort_by_level=True,
            ),
        ),
        "replay": _status("Replay progress", _REPLAY),
        "evaluator": _raw(
            "Evaluator",
            '/diagnostics.status[:]{name=="/deeplab_evaluator: evaluation"}',
        ),
        "class_table": fox.TablePanel(
            title="Classes", config=fox.TableConfig(topic_path=f"{_RESULT}.classes")
        ),
        "classes_over_time": _plot(
            "IoU of each class over time, by class id",
            [
                _series(f"{_RESULT}.classes[{index}].iou", f"class {index}", _hue(index))
                for index in range(_CLASSES)
            ],
        ),
        "frames": _plot(
            "Pixels of each frame: labelled, ignored, invalid predictions",
            [
                _series(f"{_FRAME}.labelled_pixels", "labelled", _BLUE),
                _series(f"{_FRAME}.ignored_pixels", "ignored", _ORANGE),
                _series(f"{_FRAME}.invalid_predictions", "invalid", _RED),
            ],
            limits=None,
        ),
        "outcomes": fox.StateTransitionsPanel(
            title="What became of each frame",
            config=fox.StateTransitionsConfig(
                paths=[
                    fox.StateTransitionsSeries(
                        value=f"{_FRAME}.outcome",
                        label="outcome",
                        enabled=True,
                        timestamp_method="receiveTime",
                    )
                ],
                is_synced=True,
            ),
        ),
        "latency": _plot(
            "Seconds for each frame",
            [
                _series(f"{_FRAME}.latency_seconds", "arrival to result", _BLUE),
                _series(f"{_FRAME}.queue_seconds", "waiting", _ORANGE),
                _series(f"{_FRAME}.inference_seconds", "network", _GREEN),
            ],
            limits=None,
        ),
        "account": _raw("Images: received, evaluated, dropped by reason", f"{_RESULT}.images"),
    }


def _plot(
    title: str,
    series: list[fox.PlotSeries],
    *,
    limits: tuple[float, float] | None = (0, 1),
    shown_s: float | None = _SHOWN_S,
) -> fox.PlotPanel:
    return fox.PlotPanel(
        title=title,
        config=fox.PlotConfig(
            paths=series,
            min_y_value=limits and limits[0],
            max_y_value=limits and limits[1],
            show_legend=True,
            legend_display="left",
            show_plot_values_in_legend=False,
            show_x_axis_labels=True,
            show_y_axis_labels=True,
            is_synced=True,
            x_axis_val="timestamp",
            time_window_mode="sliding" if shown_s else "automatic",
            playback_bar_position="right",
            following_view_width=shown_s,
            sidebar_dimension=120,
        ),
    )


def _series(
    path: str, label: str, color: str, style: _Style = "solid", *, size: float = 1.5
) -> fox.PlotSeries:
    # By the time of arrival: a result without a frame has no stamp, and would begin in 1970.
    return fox.PlotSeries(
        value=path,
        label=label,
        color=color,
        line_size=size,
        line_style=style,
        enabled=True,
        timestamp_method="receiveTime",
    )


def _points(path: str, label: str, color: str, *, size: float) -> fox.PlotSeries:
    return fox.PlotSeries(
        value=path,
        label=label,
        color=color,
        line_size=size,
        show_line=False,
        enabled=True,
        timestamp_method="receiveTime",
    )


def _image(title: str, topic: str) -> fox.ImagePanel:
    return fox.ImagePanel(
        title=title,
        config=fox.ImageConfig(image_mode=fox.ImageModeConfig(image_topic=topic, annotations={})),
    )


def _status(title: str, name: str) -> fox.DiagnosticsDetailPanel:
    return fox.DiagnosticsDetailPanel(
        title=title,
        config=fox.DiagnosticsDetailConfig(
            topic_to_render="/diagnostics",
            selected_hardware_id="",
            selected_name=name,
            split_fraction=0.5,
        ),
    )


def _raw(title: str, path: str) -> fox.RawMessagesPanel:
    return fox.RawMessagesPanel(
        title=title,
        config=fox.RawMessagesConfig(
            topic_path=path,
            diff_enabled=False,
            diff_method="custom",
            diff_topic_path="",
            show_full_message_for_diff=False,
            expansion="all",
        ),
    )


def _hue(index: int) -> str:
    """Return one of many colours, neighbours far apart (the golden angle)."""
    return f"hsl({round(index * 137.508) % 360}, 70%, {(45, 60)[index % 2]}%)"
