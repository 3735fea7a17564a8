"""The node of the live page, in this process."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

import rclpy
from deeplab_miou_msgs.msg import MeanIoU
from rclpy.lifecycle import TransitionCallbackReturn

from deeplab_miou.nodes.lifecycle.autostart import start_once_spun
from deeplab_miou.nodes.ros.executor import NodeExecutor
from deeplab_miou.nodes.ros.qos import LATCHED
from deeplab_miou.nodes.watch.node import MiouWatch

DEADLINE_S = 20.0


class SlowWatch(MiouWatch):
    """Takes its time to become active, as on a busy machine: long enough for messages to come."""

    def activate(self):
        super().activate()
        time.sleep(0.5)


def test_a_latched_message_that_comes_during_activation_is_shown(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    rclpy.init(args=["--ros-args", "-p", "port:=0"])
    errors = []
    sender, node = rclpy.create_node("sender"), SlowWatch()
    executor = NodeExecutor(node, node.threads, errors.append)
    try:
        latched = sender.create_publisher(MeanIoU, "/miou_publisher/result", LATCHED)
        latched.publish(MeanIoU(frames=6))
        start_once_spun(node)
        executor.start()
        deadline_s = time.monotonic() + DEADLINE_S
        shown = ""
        while '"frames":6' not in shown and time.monotonic() < deadline_s:
            time.sleep(0.02)
            if hasattr(node, "_feed"):
                shown = "".join(str(part) for part in node._feed.board.changes({})).replace(" ", "")
        assert '"frames":6' in shown, shown
        assert not errors
    finally:
        executor.stop()
        node.trigger_deactivate()
        node.trigger_cleanup()
        executor.shutdown()
        node.destroy_node()
        sender.destroy_node()
        rclpy.try_shutdown()


def test_a_name_that_is_no_nodes_is_refused(monkeypatch, capfd):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    rclpy.init(args=["--ros-args", "-p", "port:=0", "-p", "publisher:=1x"])
    node = MiouWatch()
    try:
        assert node.trigger_configure() is not TransitionCallbackReturn.SUCCESS
        told = capfd.readouterr().err
        assert "parameter publisher is '1x', expected the name of a node" in told
        assert "Traceback" not in told
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
