"""Ids that a topic names while the stream runs, over DDS."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from graph_support import (
    EVALUATOR,
    KEPT,
    LATCHED,
    Camera,
    account,
    check_identity,
    frames,
    image,
    matrix,
)
from std_msgs.msg import String
from std_srvs.srv import SetBool

LABELS = """
classes:
  - {name: road}
  - {name: car}
"""
FRAMES = 8


def names_at(k):
    """Return the id of each name; they change with frame 5."""
    return {"road": 2, "car": 3, "tree": 4} if k < 5 else {"car": 2, "tree": 3, "road": 9}


def frame(k):
    """Return what is there, 0 road, 1 car, 2 tree, and what is predicted."""
    generator = np.random.default_rng(k)
    return generator.integers(0, 3, (4, 6)), generator.integers(0, 2, (4, 6))


def expected(count):
    cells = np.zeros((2, 3), np.int64)
    for k in range(count):
        truth, guess = frame(k)
        np.add.at(cells, (truth[truth < 2], guess[truth < 2]), 1)
    return cells


def send(camera, k):
    truth, guess = frame(k)
    ids = names_at(k)
    raw = np.array([ids["road"], ids["car"], ids["tree"]])[truth]
    camera.images.publish(image(guess, 100 + k))
    camera.labels.publish(image(raw, 100 + k))


@pytest.fixture
def start(graph, start_evaluator, tmp_path):
    """Start an evaluator of predictions whose labels are named by a topic."""

    def run(kind, qos):
        path = tmp_path / "labels.yaml"
        path.write_text(LABELS)
        evaluator = start_evaluator(
            source="topic", labels=str(path), label_info_topic="/names", publish_period=0.02
        )
        names = graph.publisher(kind, "/names", qos)
        return evaluator, Camera(graph).connect(), names

    return run


def test_labels_wait_for_the_names_of_a_simulator_which_may_change(start):
    _, camera, names = start(String, KEPT)
    for k in range(FRAMES):
        send(camera, k)
    camera.states.wait(lambda state: state.labels.received == FRAMES)
    assert camera.states.messages[-1].frames == 0
    for k in range(FRAMES):
        content = {str(each): {"class": name.upper()} for name, each in names_at(k).items()}
        content["time_stamp"] = {"sec": str(100 + k), "nanosec": "0"}
        names.publish(String(data=json.dumps(content)))
    state = camera.states.wait(frames(FRAMES))
    check_identity(state)
    assert np.array_equal(matrix(state), expected(FRAMES))
    assert state.unmapped_pixels == 0


def test_names_of_no_class_drop_frames_and_are_told(start):
    evaluator, camera, names = start(String, KEPT)
    names.publish(String(data='{"2": {"class": "lamp"}}'))
    send(camera, 0)
    line = evaluator.wait_for_output("no_label_info", 30)
    assert "name no class of label map labels: they name lamp; it has road, car" in line
    state = camera.states.wait(lambda state: state.labels.dropped)
    assert account(state.labels) == {"no_label_info": 1}


def test_latched_names_that_change_during_a_pause_are_known_after_it(start, graph):
    _, camera, names = start(String, LATCHED)

    def name(sec, what):
        content = {"5": {"class": what}, "time_stamp": {"sec": str(sec), "nanosec": "0"}}
        names.publish(String(data=json.dumps(content)))

    name(1, "road")
    camera.send(1, [[0]], [[5]])
    camera.states.wait(frames(1))
    assert graph.call(SetBool, f"{EVALUATOR}/pause", SetBool.Request(data=True)).success
    camera.disconnect()
    graph.wait_until(lambda: not names.get_subscription_count())
    name(2, "car")
    assert graph.call(SetBool, f"{EVALUATOR}/pause", SetBool.Request(data=False)).success
    camera.connect().send(2, [[1]], [[5]])
    assert np.trace(matrix(camera.states.wait(frames(2)))) == 2


def test_a_latched_label_info_names_ids(start):
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    _, camera, names = start(vision_msgs.LabelInfo, LATCHED)
    info = vision_msgs.LabelInfo()
    info.class_map = [
        vision_msgs.VisionClass(class_id=each, class_name=name)
        for name, each in names_at(0).items()
    ]
    names.publish(info)
    for k in range(5):
        send(camera, k)
    assert np.array_equal(matrix(camera.states.wait(frames(5))), expected(5))
