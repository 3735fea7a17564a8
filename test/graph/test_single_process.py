"""Evaluators and publisher in one process: they score, end and fail as in several."""

from __future__ import annotations

import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU
from graph_support import (
    EVALUATOR,
    KEPT,
    LATCHED,
    LIVE,
    PUBLISHER,
    Camera,
    account,
    frames,
    image,
    matrix,
)
from sensor_msgs.msg import Image

MODULE = "deeplab_miou.nodes.single_process"
GIVEN = {
    "source": "topic",
    "labels": "cityscapes_train_ids",
    "publish_period": 0.05,
    "queue_size": 1000,
    "input_depth": 1000,
}
PAIRS = 60


@pytest.fixture
def pairs():
    """Return predictions and labels, and the matrix that NumPy counts of them."""
    random = np.random.default_rng(14)
    predictions = random.integers(0, 4, (PAIRS, 6, 8), np.uint8)
    labels = random.integers(0, 4, (PAIRS, 6, 8), np.uint8)
    counts = np.zeros((19, 20), int)
    np.add.at(counts, (labels.ravel(), predictions.ravel()), 1)
    return predictions, labels, counts


def test_counts_are_those_of_numpy_and_a_signal_ends_both_in_order(
    ros_process, graph, pairs, tmp_path
):
    predictions, labels, counts = pairs
    both = ros_process(MODULE, parameters={**GIVEN, "report_directory": str(tmp_path)})
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera = Camera(graph, LIVE).listen()
    for sec in range(PAIRS):
        camera.send(1 + sec, predictions[sec], labels[sec])
    state = camera.state(frames(PAIRS))
    np.testing.assert_array_equal(matrix(state), counts)
    assert state.images.evaluated == state.labels.evaluated == PAIRS
    assert not account(state.images)
    present = np.diag(counts)[:4] / (counts.sum(1) + counts.sum(0)[:19] - np.diag(counts))[:4]
    assert results.wait(frames(PAIRS)).miou == pytest.approx(present.mean(), abs=1e-12)

    status, took_s = both.stop(signal.SIGINT)
    assert status == 0, both.output
    assert took_s < 8
    assert f"{PAIRS} frames evaluated" in both.output
    assert "report written to" in both.output
    assert "Traceback" not in both.output


def test_lifecycles_are_the_nodes_own(ros_process, graph):
    both = ros_process(MODULE, parameters=GIVEN)
    camera = Camera(graph, LIVE).listen()
    assert graph.transition(PUBLISHER, "deactivate")
    camera.send(1)
    camera.state(frames(1))
    assert graph.transition(EVALUATOR, "deactivate")
    assert graph.transition(EVALUATOR, "cleanup")
    assert graph.transition(PUBLISHER, "activate")
    assert both.stop()[0] == 0


def test_two_evaluators_add_up(ros_process, graph):
    topics = [f"/deeplab_evaluator_{side}/confusion" for side in ("front", "rear")]
    both = ros_process(
        MODULE,
        "--evaluator",
        "deeplab_evaluator_front",
        "--evaluator",
        "deeplab_evaluator_rear",
        "--publisher",
        "miou",
        parameters={**GIVEN, "confusion_topics": topics},
        remap={"deeplab_evaluator_rear:/camera/image": "/rear/image"},
    )
    results = graph.subscribe(MeanIoU, "/miou/result", LATCHED)
    labels = graph.publisher(Image, "/camera/labels", KEPT, subscribers=2)
    front = graph.publisher(Image, "/camera/image", KEPT)
    rear = graph.publisher(Image, "/rear/image", KEPT)
    labels.publish(image([[0, 1, 1]], 1))
    front.publish(image([[0, 1, 1]], 1))
    rear.publish(image([[0, 0, 0]], 1))
    result = results.wait(frames(2))
    # Class 0: 2 of 4 pixels in common; class 1: 2 of 4.
    assert result.miou == pytest.approx(0.5)
    assert both.stop()[0] == 0


def test_a_node_that_fails_ends_all_with_an_error(ros_process):
    given = {**GIVEN, "labels": "no_such_label_map", "autostart_exit_on_failure": True}
    both = ros_process(MODULE, parameters=given)
    assert both.wait() == 1
    assert "no_such_label_map is neither" in both.output
    assert "Traceback" not in both.output


def test_a_wrong_argument_is_refused(ros_process):
    both = ros_process(MODULE, "--evaluators", "a")
    assert both.wait() == 2
    assert "unrecognized arguments" in both.output
    assert "Traceback" not in both.output
