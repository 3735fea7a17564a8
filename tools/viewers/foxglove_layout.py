"""The layout for Foxglove that shows one evaluation."""

from __future__ import annotations

from foxglove import layouts as fox

from viewers.foxglove_panels import (
    BLUE,
    GREEN,
    ORANGE,
    RECENT_S,
    RED,
    SKY,
    Split,
    by_index,
    hue,
    image,
    layout_text,
    plot,
    points,
    raw,
    series,
    status,
    table,
    transitions,
)

_RESULT, _WINDOW, _FRAME = (
    "/miou_publisher/result",
    "/miou_publisher/window",
    "/deeplab_evaluator/frame",
)
# Of what was dropped there is nothing to plot: zeros would cover the rest.
_EVALUATED = f'{_FRAME}{{outcome=="evaluated"}}'
_REPLAY = "/bag_replayer: replay"
# As many as Cityscapes has; the series of classes that there are not stay empty.
_CLASSES = 19


def layout() -> str:
    """Return the layout as JSON text."""
    return layout_text(_panels(), _TABS)


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
        "Where",
        Split("row", 50, Split("column", 50, "region_table", "regions_now"), "mistakes"),
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


def _panels() -> dict[str, fox.BasePanel]:
    return {
        "miou": plot(
            "mIoU with its 95 % interval (blue), bounds at every moment (dotted), window (orange)",
            [
                series(f"{_RESULT}.miou", "mIoU", BLUE, size=3),
                series(f"{_RESULT}.miou_lower", "95 % from", SKY),
                series(f"{_RESULT}.miou_upper", "95 % to", SKY),
                series(f"{_RESULT}.miou_anytime_lower", "anytime from", GREEN, "dotted"),
                series(f"{_RESULT}.miou_anytime_upper", "anytime to", GREEN, "dotted"),
                series(f"{_WINDOW}.miou", "window", ORANGE),
            ],
            limits=None,
        ),
        "frame_miou": plot(
            "mIoU of each frame alone (dips: the worst frames), and of all frames so far",
            [
                series(f"{_FRAME}.miou", "frame", RED),
                series(f"{_RESULT}.miou", "mIoU", BLUE, size=3),
            ],
        ),
        "classes_now": by_index(
            "IoU of each class with its 95 % interval, by class id",
            [
                points(f"{_RESULT}.classes[:].iou", "IoU", BLUE, size=5),
                points(f"{_RESULT}.classes[:].iou_lower", "95 % from", SKY, size=2),
                points(f"{_RESULT}.classes[:].iou_upper", "95 % to", SKY, size=2),
            ],
        ),
        "overlay": image("Prediction over the image", "/deeplab_evaluator/overlay"),
        "truth": image("Ground truth over the image", "/deeplab_evaluator/ground_truth"),
        "confusion": image("Confusion matrix", "/miou_publisher/confusion_image"),
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
        "replay": status("Replay progress", _REPLAY),
        "evaluator": raw(
            "Evaluator",
            '/diagnostics.status[:]{name=="/deeplab_evaluator: evaluation"}',
        ),
        "class_table": table("Classes", f"{_RESULT}.classes"),
        "region_table": table("Regions", f"{_RESULT}.regions"),
        "regions_now": by_index(
            "mIoU of each region with its 95 % interval, by its index",
            [
                points(f"{_RESULT}.regions[:].miou", "mIoU", BLUE, size=5),
                points(f"{_RESULT}.regions[:].miou_lower", "95 % from", SKY, size=2),
                points(f"{_RESULT}.regions[:].miou_upper", "95 % to", SKY, size=2),
            ],
        ),
        "mistakes": by_index(
            "Kinds of mistakes, by class id: at boundaries, in the extent, by whole segments",
            [
                points(f"{_RESULT}.classes[:].boundary_errors", "boundary", ORANGE, size=4),
                points(f"{_RESULT}.classes[:].extent_errors", "extent", RED, size=4),
                points(f"{_RESULT}.classes[:].segment_errors", "segment", GREEN, size=4),
            ],
        ),
        "classes_over_time": plot(
            "IoU of each class over time, by class id",
            [
                series(f"{_RESULT}.classes[{index}].iou", f"class {index}", hue(index))
                for index in range(_CLASSES)
            ],
        ),
        "frames": plot(
            "Pixels of each evaluated frame: labelled, ignored, invalid predictions",
            [
                series(f"{_EVALUATED}.labelled_pixels", "labelled", BLUE),
                series(f"{_EVALUATED}.ignored_pixels", "ignored", ORANGE),
                series(f"{_EVALUATED}.invalid_predictions", "invalid", RED),
            ],
            limits=None,
            shown_s=RECENT_S,
        ),
        "outcomes": transitions("What became of each frame", f"{_FRAME}.outcome", "outcome"),
        "latency": plot(
            "Seconds for each evaluated frame",
            [
                series(f"{_EVALUATED}.latency_seconds", "arrival to result", BLUE),
                series(f"{_EVALUATED}.queue_seconds", "waiting", ORANGE),
                series(f"{_EVALUATED}.inference_seconds", "network", GREEN),
            ],
            limits=None,
            shown_s=RECENT_S,
        ),
        "account": raw("Images: received, evaluated, dropped by reason", f"{_RESULT}.images"),
    }
