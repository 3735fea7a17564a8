"""Regions, types of mistakes and means over frames from real nodes, counted by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import ConfusionMatrix, MeanIoU
from graph_support import LATCHED, PUBLISHER, Camera

FRAMES, SHAPE, CLASSES, IGNORE = 12, (24, 40), 19, 255
REGIONS = """
regions:
  - {name: far, rows: [0.0, 0.5]}
  - {name: border, border: 2}
  - {name: last row, rows: [0.96, 1.0], ignore: true}
"""


def scene(number):
    """Return ground truth and prediction, wrong above all in the upper half."""
    rng = np.random.default_rng(number)
    truth = np.zeros(SHAPE, np.uint8)
    truth[4:16, 8 + number : 25 + number] = 3
    wrong = rng.random(SHAPE) < np.where(np.arange(SHAPE[0]) < 12, 0.4, 0.05)[:, None]
    return truth, np.where(wrong, 3 - truth, truth).astype(np.uint8)


def count(truth, prediction):
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    labelled = truth != IGNORE
    np.add.at(matrix, (truth[labelled], prediction[labelled]), 1)
    return matrix


def iou(matrix):
    """Return the IoU of classes that occur."""
    right = matrix.diagonal()
    union = matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) - right
    return right[union > 0] / union[union > 0]


def near_border(truth):
    near = np.zeros(SHAPE, bool)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            if dy**2 + dx**2 > 4:
                continue
            y, x = np.indices(SHAPE)
            inside = (y + dy >= 0) & (y + dy < SHAPE[0]) & (x + dx >= 0) & (x + dx < SHAPE[1])
            other = np.roll(truth, (-dy, -dx), (0, 1))
            near |= inside & (other != truth) & (other != IGNORE)
    return near & (truth != IGNORE)


def test_result_has_what_numpy_counts(ros_process, graph, tmp_path):
    (tmp_path / "regions.yaml").write_text(REGIONS)
    ros_process(
        "deeplab_miou.nodes.evaluator",
        parameters={
            "source": "topic",
            "labels": "cityscapes_train_ids",
            "regions": str(tmp_path / "regions.yaml"),
            "error_types": True,
        },
    )
    ros_process("deeplab_miou.nodes.publisher")
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera = Camera(graph).listen()
    # Until frames reach the publisher, means over frames would lack the first.
    camera.heard_by(2)
    whole, far, border, means = 0, 0, 0, []
    for number in range(FRAMES):
        truth, prediction = scene(number)
        camera.send(1000 + number, prediction, truth)
        truth[-1] = IGNORE
        upper = np.where(np.arange(SHAPE[0])[:, None] < 12, truth, np.uint8(IGNORE))
        whole = whole + count(truth, prediction)
        far = far + count(upper, prediction)
        border = border + count(np.where(near_border(truth), truth, IGNORE), prediction)
        means.append(iou(count(truth, prediction)).mean())
    told = results.wait(lambda result: result.frames == FRAMES and not result.missing_frames)
    assert told.miou == pytest.approx(iou(whole).mean())
    assert told.frame_miou == pytest.approx(np.mean(means))
    assert told.worst_frames_miou == pytest.approx(min(means), abs=1e-3)
    for region, name, expected in zip(told.regions, ("far", "border"), (far, border), strict=True):
        assert region.name == name
        assert region.labelled_pixels == expected.sum()
        assert region.miou == pytest.approx(iou(expected).mean())
        assert [region.classes[c].iou for c in (0, 3)] == pytest.approx(iou(expected))
    for c in (0, 3):
        told_class = told.classes[c]
        lost = told_class.boundary_errors + told_class.extent_errors + told_class.segment_errors
        assert told_class.iou + lost == pytest.approx(1)
    assert told.classes[3].boundary_iou > 0


def test_evaluators_whose_regions_have_other_names_are_told_apart(ros_process, graph, tmp_path):
    """The second is refused with a line that names both; the first goes on."""
    names = {"front": "far <b>a/b</b>", "rear": "Far"}
    for side, name in names.items():
        (tmp_path / f"{side}.yaml").write_text(f'regions: [{{name: "{name}", rows: [0.0, 0.5]}}]')
    evaluators = {side: f"/evaluator_{side}" for side in names}
    confusions = [f"{each}/confusion" for each in evaluators.values()]
    publisher = ros_process(
        "deeplab_miou.nodes.publisher", parameters={"confusion_topics": confusions}
    )
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    for side, evaluator in evaluators.items():
        topics = {"image_topic": f"/{side}/image", "label_topic": f"/{side}/labels"}
        ros_process(
            "deeplab_miou.nodes.evaluator",
            name=evaluator.strip("/"),
            parameters={
                "source": "topic",
                "labels": "cityscapes_train_ids",
                "regions": str(tmp_path / f"{side}.yaml"),
                **topics,
            },
        )
        truth, prediction = scene(1)
        Camera(graph, topics=tuple(topics.values())).connect().send(1, prediction, truth)
        states = graph.subscribe(ConfusionMatrix, f"{evaluator}/confusion", LATCHED)
        states.wait(lambda state: state.frames == 1)
        if side == "front":
            results.wait(lambda result: result.frames == 1)
    line = publisher.wait_for_output("its regions are")
    assert "1 (Far)" in line
    assert f"1 ({names['front']})" in line
    told = results.messages[-1]
    assert [region.name for region in told.regions] == [names["front"]]
    assert (told.frames, told.sources) == (1, [evaluators["front"]])
