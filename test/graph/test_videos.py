"""Videos live: from real publishers over DDS, through a real network, to the offline counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")
pytest.importorskip("foxglove_msgs", reason="foxglove_msgs is not installed")
pytest.importorskip(
    "ffmpeg_image_transport_msgs", reason="ffmpeg_image_transport_msgs is not installed"
)

from deeplab_miou_msgs.msg import ConfusionMatrix
from graph_support import (
    BEST_EFFORT,
    EVALUATOR,
    IMAGE,
    KEPT,
    LABEL,
    LATCHED,
    PUBLISHER,
    account,
    check_identity,
    frames,
    image,
)
from image_files import mono8
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from video_files import encode, pictures
from video_messages import FFMPEG, FOXGLOVE, STORE, serialise

from deeplab_miou import cli
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.nodes.ros.message_types import message_class

COUNT = 24
STEP_NS = 100_000_000
LABELLED = [3, 4, 9, 11, 17, 18, 23]
IDS = np.array([entry.ids[0] for entry in load_label_map("demo").classes], np.uint8)
NETWORK = {"checkpoint": "demo", "publish_period": 0.05}


def truth(k):
    return IDS[np.random.default_rng(k).integers(0, 8, (96, 128))]


def stamp_ns(k):
    return 10**9 + k * STEP_NS


def write(path, packets, kind, encoding):
    with BagWriter(path, typestore=STORE) as writer:
        for place, _, data in packets:
            at_ns = stamp_ns(place)
            writer.write(IMAGE, kind, at_ns, serialise(kind, at_ns, encoding, data, place))
            if place in LABELLED:
                writer.write_image(LABEL, at_ns, "", mono8(truth(place)))


@pytest.mark.parametrize(
    ("kind", "encoding", "codec"),
    [(FOXGLOVE, "h265", "h265"), (FFMPEG, "libx264;yuv420p;bgr8;bgr8", "h264")],
)
def test_a_paced_replay_gives_the_offline_counts(ros_process, tmp_path, kind, encoding, codec):
    """With a loss, after which some pictures cannot be scored."""
    packets = [each for each in encode(codec, pictures(COUNT)) if each[0] != 10]
    write(tmp_path / "bag", packets, kind, encoding)
    ros_process("deeplab_miou.nodes.evaluator", parameters={**NETWORK, "labels": "demo"})
    ros_process(
        "deeplab_miou.nodes.publisher", parameters={"report_directory": str(tmp_path / "live")}
    )
    replay = {"paced": True, "publisher": PUBLISHER}
    replayer = ros_process("deeplab_miou.nodes.replayer", str(tmp_path / "bag"), parameters=replay)
    assert replayer.wait(90) == 0
    live = json.loads((tmp_path / "live" / "report.json").read_text())
    arguments = ["evaluate", tmp_path / "bag", "--checkpoint", "demo"]
    assert cli.main([*map(str, arguments), "--output", str(tmp_path / "offline")]) == 0
    offline = json.loads((tmp_path / "offline" / "report.json").read_text())
    assert live["frames"] == len(LABELLED) - 1  # 11 builds on what was lost
    assert live["confusion"] == offline["confusion"]
    assert live["accounting"] == offline["accounting"]


def test_a_camera_that_was_running_before(ros_process, graph):
    """What was published before, and what was lost, is not there: both are counted."""
    kind = message_class(FOXGLOVE)
    camera = graph.node.create_publisher(kind, IMAGE, BEST_EFFORT)
    labels = graph.node.create_publisher(Image, LABEL, KEPT)
    states = graph.subscribe(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED)
    ros_process("deeplab_miou.nodes.evaluator", parameters={**NETWORK, "hold_frames": 100})
    graph.wait_until(
        lambda: camera.get_subscription_count() and labels.get_subscription_count(), 60
    )
    sent = [each for each in encode("h264", pictures(COUNT)) if each[0] >= 5 and each[0] != 18]
    for count, (place, _, data) in enumerate(sent, 1):
        at_ns = stamp_ns(place)
        camera.publish(deserialize_message(serialise(FOXGLOVE, at_ns, "h264", data), kind))
        # One at a time: best effort loses what comes in bulk.
        states.wait(lambda state, count=count: state.images.received == count)
    for place in LABELLED:
        sec, nanosec = divmod(stamp_ns(place), 10**9)
        labels.publish(image(truth(place), sec, nanosec))
    scored = [9, 11, 17]
    state = states.wait(
        lambda state: frames(len(scored))(state) and state.labels.received == len(LABELLED)
    )
    check_identity(state)
    assert account(state.images) == {"no_key_frame": 3, "lost_reference": 5}
    assert sum(state.counts) == len(scored) * 96 * 128


def test_labels_cannot_be_a_video(ros_process, graph):
    graph.node.create_publisher(message_class(FOXGLOVE), LABEL, KEPT)
    evaluator = ros_process(
        "deeplab_miou.nodes.evaluator", parameters={**NETWORK, "startup_timeout": 0.5}
    )
    line = evaluator.wait_for_output("is a video", 60)
    assert f"topic {LABEL} is a video ({FOXGLOVE}), which changes ids and colours" in line


def test_without_pyav_a_line_says_what_to_install(ros_process, graph, tmp_path):
    (tmp_path / "av.py").write_text("raise ImportError('no PyAV here')\n")
    graph.node.create_publisher(message_class(FOXGLOVE), IMAGE, KEPT)
    evaluator = ros_process(
        "deeplab_miou.nodes.evaluator", parameters={**NETWORK, "startup_timeout": 0.5}
    )
    line = evaluator.wait_for_output("is a video", 60)
    assert "pip install -r requirements-video.txt" in line
