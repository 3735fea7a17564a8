"""The layout for Foxglove that shows two networks compared live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewers.foxglove_panels import (
    BLUE,
    GREEN,
    ORANGE,
    SKY,
    Split,
    by_index,
    image,
    layout_text,
    plot,
    points,
    series,
    table,
    transitions,
)

if TYPE_CHECKING:
    from foxglove import layouts as fox

_COMPARISON = "/miou_comparer/comparison"


def comparison_layout() -> str:
    """Return the layout as JSON text."""
    return layout_text(_panels(), _TABS)


_TABS = (
    (
        "Comparison",
        Split(
            "row",
            60,
            Split("column", 40, "difference", Split("column", 50, "both", "classes_now")),
            Split("column", 35, Split("row", 50, "overlay_a", "overlay_b"), "verdict"),
        ),
    ),
    (
        "Classes and frames",
        Split(
            "row",
            50,
            "class_table",
            Split("column", 34, "worse", Split("column", 50, "better", "disagreeing")),
        ),
    ),
)


def _panels() -> dict[str, fox.BasePanel]:
    return {
        "difference": plot(
            "mIoU of B - mIoU of A with its 95 % interval (blue), bounds at every moment (dotted)",
            [
                series(f"{_COMPARISON}.difference", "B - A", BLUE, size=3),
                series(f"{_COMPARISON}.lower", "95 % from", SKY),
                series(f"{_COMPARISON}.upper", "95 % to", SKY),
                series(f"{_COMPARISON}.anytime_lower", "anytime from", GREEN, "dotted"),
                series(f"{_COMPARISON}.anytime_upper", "anytime to", GREEN, "dotted"),
            ],
            limits=None,
        ),
        "both": plot(
            "mIoU of A and of B on their common frames",
            [
                series(f"{_COMPARISON}.miou_a", "A", ORANGE),
                series(f"{_COMPARISON}.miou_b", "B", BLUE),
            ],
            limits=None,
        ),
        "classes_now": by_index(
            "IoU of B - IoU of A with its 95 % interval, by class id",
            [
                points(f"{_COMPARISON}.classes[:].difference", "B - A", BLUE, size=5),
                points(f"{_COMPARISON}.classes[:].lower", "95 % from", SKY, size=2),
                points(f"{_COMPARISON}.classes[:].upper", "95 % to", SKY, size=2),
            ],
            limits=None,
        ),
        "overlay_a": image("Prediction of A", "/deeplab_evaluator_a/overlay"),
        "overlay_b": image("Prediction of B", "/deeplab_evaluator_b/overlay"),
        "verdict": transitions("Verdict so far", f"{_COMPARISON}.verdict", "verdict"),
        "class_table": table("Classes", f"{_COMPARISON}.classes"),
        "worse": table("Frames on which B is worse", f"{_COMPARISON}.became_worse"),
        "better": table("Frames on which B is better", f"{_COMPARISON}.became_better"),
        "disagreeing": table("Most different predictions", f"{_COMPARISON}.most_disagreeing"),
    }
