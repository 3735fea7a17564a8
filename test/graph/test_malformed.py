"""Bytes that are no image at all: the middleware would drop them, and nobody would know."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from graph_support import Camera, account, frames, image
from rclpy.serialization import serialize_message


def test_bytes_that_are_no_image_are_counted(ros_process, graph):
    parameters = {"source": "topic", "labels": "cityscapes_train_ids", "publish_period": 0.05}
    node = ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)
    camera = Camera(graph).listen()
    whole = serialize_message(image([[0, 1, 2]], 50))
    endless = whole[:12] + b"\xff\xff\xff\x7f" + whole[16:]
    for cut in (whole[:-8], whole[:17], whole[:4], endless):
        camera.images.publish(cut)
        camera.labels.publish(cut)
    camera.send(100)
    state = camera.state(lambda m: frames(1)(m) and m.images.received == m.labels.received == 5)
    assert account(state.images) == account(state.labels) == {"truncated_data": 4}
    camera.graph.wait_until(lambda: len(camera.frames.messages) == 9)
    told = [m for m in camera.frames.messages if m.outcome == "truncated_data"]
    assert {m.stream for m in told} == {"image", "label"}
    assert "bytes are not a valid sensor_msgs/msg/Image" in told[0].message
    assert sorted(m.header.stamp.sec for m in told) == [0, 0, 50, 50, 50, 50, 50, 50]
    assert node.returncode is None
