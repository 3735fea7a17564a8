"""Panels and layouts for Foxglove: ``foxglove-sdk``'s types, in the app's own file format.

The SDK writes layouts as notebooks take them (``version``, ``content``). "Import from file" in the
app takes what the app itself exports (``configById``, a tree of splits), so that is written here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from foxglove import layouts as fox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# As on the live page: the palette of Okabe and Ito, which the colour-blind can tell apart.
BLUE, SKY, ORANGE, GREEN, RED = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00"
RECENT_S = 120.0
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


def layout_text(panels: Mapping[str, fox.BasePanel], tabs: Sequence[tuple[str, Split]]) -> str:
    """Return a layout as JSON text.

    Args:
        panels: by the keys that the tabs use.
        tabs: title and content of each.
    """
    configs = {}
    for name, panel in panels.items():
        made = json.loads(panel.to_json())
        kind = _PANEL_TYPES.get(made["panelType"], made["panelType"])
        configs[f"{kind}!{name}"] = made["config"] | {"foxglovePanelTitle": made["title"]}
    keys = {key.partition("!")[2]: key for key in configs}
    shown = [{"title": title, "layout": _keyed(tree, keys).to_tree()} for title, tree in tabs]
    configs["Tab!tabs"] = {"activeTabIdx": 0, "tabs": shown}
    content = {
        "configById": configs,
        "globalVariables": {},
        "userNodes": {},
        "playbackConfig": {"speed": 1},
        "layout": "Tab!tabs",
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _keyed(tree: Split, keys: dict[str, str]) -> Split:
    first, second = (
        keys[each] if isinstance(each, str) else _keyed(each, keys)
        for each in (tree.first, tree.second)
    )
    return Split(tree.direction, tree.percent, first, second)


def plot(
    title: str,
    paths: list[fox.PlotSeries],
    *,
    limits: tuple[float, float] | None = (0, 1),
    shown_s: float | None = None,
) -> fox.PlotPanel:
    """Return a plot over time; the last ``shown_s`` seconds, or all if None."""
    return fox.PlotPanel(
        title=title,
        config=fox.PlotConfig(
            paths=paths,
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


def by_index(
    title: str, paths: list[fox.PlotSeries], *, limits: tuple[float, float] | None = (0, 1)
) -> fox.PlotPanel:
    """Return a plot of the newest values of arrays, over their indices."""
    return fox.PlotPanel(
        title=title,
        config=fox.PlotConfig(
            paths=paths,
            x_axis_val="index",
            min_y_value=limits and limits[0],
            max_y_value=limits and limits[1],
            show_legend=False,
            show_x_axis_labels=True,
            show_y_axis_labels=True,
            is_synced=False,
        ),
    )


def table(title: str, path: str) -> fox.TablePanel:
    """Return a table with a row for each element of an array."""
    return fox.TablePanel(title=title, config=fox.TableConfig(topic_path=path))


def transitions(title: str, path: str, label: str) -> fox.StateTransitionsPanel:
    """Return a band that shows which value a text has when."""
    return fox.StateTransitionsPanel(
        title=title,
        config=fox.StateTransitionsConfig(
            paths=[
                fox.StateTransitionsSeries(
                    value=path, label=label, enabled=True, timestamp_method="receiveTime"
                )
            ],
            is_synced=True,
        ),
    )


def series(
    path: str, label: str, color: str, style: _Style = "solid", *, size: float = 1.5
) -> fox.PlotSeries:
    """Return a line of a `plot`."""
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


def points(path: str, label: str, color: str, *, size: float) -> fox.PlotSeries:
    """Return a point for each element of an array, for `by_index`."""
    return fox.PlotSeries(
        value=path,
        label=label,
        color=color,
        line_size=size,
        show_line=False,
        enabled=True,
        timestamp_method="receiveTime",
    )


def image(title: str, topic: str) -> fox.ImagePanel:
    """Return a panel with the pictures of a topic."""
    return fox.ImagePanel(
        title=title,
        config=fox.ImageConfig(image_mode=fox.ImageModeConfig(image_topic=topic, annotations={})),
    )


def status(title: str, name: str) -> fox.DiagnosticsDetailPanel:
    """Return a panel with one of the statuses in ``/diagnostics``."""
    return fox.DiagnosticsDetailPanel(
        title=title,
        config=fox.DiagnosticsDetailConfig(
            topic_to_render="/diagnostics",
            selected_hardware_id="",
            selected_name=name,
            split_fraction=0.5,
        ),
    )


def raw(title: str, path: str) -> fox.RawMessagesPanel:
    """Return a panel with a message, or a part of it, as text."""
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


def hue(index: int) -> str:
    """Return one of many colours, neighbours far apart (the golden angle)."""
    return f"hsl({round(index * 137.508) % 360}, 70%, {(45, 60)[index % 2]}%)"
