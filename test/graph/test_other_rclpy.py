"""Nodes with an rclpy whose private parts are not those that we know: the executor takes over."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU
from graph_support import EVALUATOR, LATCHED, LIVE, PUBLISHER, Camera, frames

_MODULE = """
from deeplab_miou.nodes.ros import rclpy_private
from deeplab_miou.nodes.{node} import node

class Other:
    WaitSet = None

rclpy_private._rclpy = Other
node.main()
"""


@pytest.fixture
def other(ros_process, tmp_path):
    def start(node, **parameters):
        (tmp_path / f"other_{node}.py").write_text(_MODULE.format(node=node))
        return ros_process(f"other_{node}", parameters={"publish_period": 0.05, **parameters})

    return start


def test_counts_are_the_same(other, graph):
    evaluator = other("evaluator", source="topic", labels="cityscapes_train_ids", queue_size=100)
    publisher = other("publisher")
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera = Camera(graph, LIVE).listen()
    for sec in range(1, 41):
        camera.send(sec, prediction=[[0, 1, 2]], label=[[0, 1, 1]])
    state = camera.state(frames(40))
    # They come on a topic of their own: the last may arrive after the state that counts them.
    graph.wait_until(lambda: len(camera.frames.messages) == 40)
    assert sorted(score.sequence for score in camera.frames.messages) == [*range(1, 41)]
    assert state.images.received == state.labels.received == 40
    result = results.wait(frames(40))
    assert result.labelled_pixels == 120
    # IoU 1, 1/2 and 0.
    assert result.miou == pytest.approx(0.5)
    for _ in range(2):
        assert graph.transition(EVALUATOR, "deactivate")
        camera.disconnect()
        assert graph.transition(EVALUATOR, "activate")
        camera.connect()
    camera.send(50)
    camera.state(frames(41))
    for node in (evaluator, publisher):
        assert node.stop()[0] == 0
        assert "Traceback" not in node.output
