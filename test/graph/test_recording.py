"""The whole way: real nodes record what they publish, and rosbags reads it back."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU
from graph_support import IMAGE, LABEL, LATCHED, PUBLISHER, Camera, frames
from rosbags.highlevel import AnyReader

MAP = """classes:
  - {name: road, ids: [0]}
  - {name: car, ids: [1]}
  - {name: pole, ids: [2]}
"""


@pytest.fixture
def nodes(ros_process, graph, tmp_path):
    """Start an evaluator of predictions and a publisher that records; return camera, publisher."""
    return start(ros_process, graph, tmp_path, "deeplab_miou.nodes.publisher")


def start(ros_process, graph, tmp_path, module):
    (tmp_path / "map.yaml").write_text(MAP)
    ros_process(
        "deeplab_miou.nodes.evaluator",
        parameters={
            "source": "topic",
            "image_topic": IMAGE,
            "label_topic": LABEL,
            "labels": str(tmp_path / "map.yaml"),
        },
    )
    publisher = ros_process(
        module,
        parameters={
            "record": str(tmp_path / "rec"),
            "report_directory": str(tmp_path / "report"),
            "publish_period": 0.05,
            "bootstrap_block_s": 1.0,
        },
    )
    return Camera(graph).connect(), publisher


def test_the_recording_of_a_graph_holds_what_it_published(nodes, graph, tmp_path):
    camera, publisher = nodes
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    random = np.random.default_rng(5)
    truth, guess = random.integers(0, 3, (2, 40, 6, 8)).astype(np.uint8)
    truth[::3][truth[::3] == 2] = 0  # some frames lack a class, though it is predicted
    for k in range(40):
        camera.send(100 + k, guess[k], truth[k], nanosec=250)
        results.wait(frames(k + 1))
    publisher.stop()
    assert publisher.returncode == 0
    assert "recorded" in publisher.output

    report = json.loads((tmp_path / "report" / "report.json").read_text())
    topics = {}
    with AnyReader([tmp_path / "rec"]) as reader:
        for connection, time_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            topics.setdefault(connection.topic, []).append((time_ns, message))
    moments = topics["/miou_publisher/result"]
    last = moments[-1][1]
    for key in ("miou", "miou_lower", "miou_upper", "pixel_accuracy", "frames"):
        assert getattr(last, key) == report[key]
    assert last.miou == pytest.approx(
        np.mean(
            [
                np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c))
                for c in range(3)
            ]
        )
    )
    # Everything at the stamps of the images, whatever the time of day is.
    stamps = {(100 + k) * 10**9 + 250 for k in range(40)}
    for of_topic in topics.values():
        assert {time_ns for time_ns, _ in of_topic} <= stamps
    published = [message.frames for message in results.messages]
    assert {message.frames for _, message in moments} <= {0, *published}
    assert len(moments) > 5
    # Outcomes are published for whoever has been found to listen, here from the first few on.
    outcomes = topics["/deeplab_evaluator/frame"]
    assert len(outcomes) > 20
    for time_ns, message in outcomes:
        k = time_ns // 10**9 - 100
        found = np.zeros(3 * 4, np.int64)
        found[message.cells] = message.counts
        known = np.bincount(truth[k].ravel() * 4 + guess[k].ravel(), minlength=12)
        assert found.tolist() == known.tolist()
        alone = [
            np.sum((truth[k] == c) & (guess[k] == c)) / np.sum((truth[k] == c) | (guess[k] == c))
            for c in np.unique(truth[k])
        ]
        assert message.miou == pytest.approx(np.mean(alone))
    assert topics["/deeplab_evaluator/overlay"][0][1].format == "jpeg"


def test_a_folder_that_exists_is_refused_when_the_node_is_configured(ros_process, tmp_path):
    process = ros_process(
        "deeplab_miou.nodes.publisher",
        parameters={"record": str(tmp_path), "autostart_exit_on_failure": True},
    )
    assert process.wait() != 0
    assert "already exists: name a new folder" in process.output
    assert "Traceback" not in process.output


# A mistake in what writes, which no disk is to blame for.
ODD = """
from deeplab_miou.nodes.publisher import node
from deeplab_miou.recording.recording import Recording

def result(*_):
    raise TypeError("an odd mistake")

Recording.result = result
node.main()
"""


def test_a_mistake_of_ours_in_the_recording_stops_the_node_loudly(ros_process, graph, tmp_path):
    (tmp_path / "odd_publisher.py").write_text(ODD)
    camera, publisher = start(ros_process, graph, tmp_path, "odd_publisher")
    camera.send(1)
    assert publisher.wait() != 0
    assert "an odd mistake" in publisher.output
