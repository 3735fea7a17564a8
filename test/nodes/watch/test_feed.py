"""What the live page is shown of messages as they come."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU

from deeplab_miou.nodes.watch import feed


@pytest.mark.parametrize("step_s", [-3600.0, 50 * 365 * 86400.0])
def test_curves_go_on_when_the_clock_is_set(monkeypatch, step_s):
    page = feed.PageFeed(set())
    page.take_result(MeanIoU(frames=1, miou=0.5))
    page.take_window(MeanIoU(frames=1, miou=0.5))
    clock = SimpleNamespace(time=lambda: time.time() + step_s, monotonic=time.monotonic)
    monkeypatch.setattr(feed, "time", clock)
    page.take_result(MeanIoU(frames=2, miou=0.5))
    page.take_window(MeanIoU(frames=2, miou=0.5))
    for name in ("result", "window"):
        first, second = page.histories[name].points()
        assert 0 < second.time_s - first.time_s < 60
        (part,) = (each for each in page.board.changes({}) if each.name == name)
        assert f'"t":{second.time_s}'.encode() in part.data
