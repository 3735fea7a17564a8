"""More frames than the device takes at once: none lost with block, prompt answers and end.

Three times too many for a minute: `python bench/soak.py --overload 60`.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore
from rcl_interfaces.srv import GetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

# Kept for the evaluator: a publisher is matched a little before its subscriber is.
KEPT = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEEP = QoSProfile(depth=1000)
NODE = "/deeplab_evaluator"
FRAME_S = 0.03
QUEUE = 4
# The evaluator as it is, with a device that takes its time.
SLOW = f"""
import time
from dataclasses import replace
from deeplab_miou.nodes import evaluator

build = evaluator.build_engine

class SlowPredictor:
    any_size = False

    def __init__(self, predictor):
        self.prepare = predictor.prepare
        self._score = predictor.score

    def score(self, images, *others, **options):
        time.sleep({FRAME_S} * len(images))
        return self._score(images, *others, **options)

def build_slow(options):
    engine = build(options)
    return replace(engine, predictor=SlowPredictor(engine.predictor))

evaluator.build_engine = build_slow
evaluator.main()
"""


@pytest.fixture
def start(ros_process, tmp_path):
    def start(**parameters):
        (tmp_path / "slow_evaluator.py").write_text(SLOW)
        given = {"source": "topic", "labels": "cityscapes_train_ids", "publish_period": 0.05}
        given |= {"queue_size": QUEUE, "input_depth": 100, **parameters}
        return ros_process("slow_evaluator", parameters=given)

    return start


class Load:
    """Publishes frames at a steady rate and listens."""

    def __init__(self, graph):
        self.graph = graph
        self.frames = graph.subscribe(FrameScore, f"{NODE}/frame", DEEP)
        self.states = graph.subscribe(ConfusionMatrix, f"{NODE}/confusion", LATCHED)
        self.publishers = [
            graph.publisher(Image, topic, KEPT) for topic in ("/camera/image", "/camera/labels")
        ]
        # Small, so that the transport's shared memory holds many: what it loses nobody can count.
        ids = np.zeros((120, 160), np.uint8)
        self._message = Image(height=120, width=160, step=160, encoding="mono8")
        self._message.data.frombytes(ids.tobytes())
        self.sent = 0

    def send(self):
        self.sent += 1
        self._message.header.stamp.sec = self.sent
        for publisher in self.publishers:
            publisher.publish(self._message)

    def settled(self):
        def done(message):
            check_identity(message)
            return message.images.received == self.sent and not (
                message.images.waiting or message.labels.waiting
            )

        return self.states.wait(done)


def check_identity(message):
    for stream in (message.images, message.labels):
        assert stream.received == stream.evaluated + stream.waiting + sum(stream.dropped)


def account(stream):
    return dict(zip(stream.reasons, stream.dropped, strict=True))


def test_block_loses_nothing_and_services_answer_meanwhile(start, graph):
    start(overflow="block")
    load = Load(graph)
    for _ in range(40):
        load.send()
    asked = time.monotonic()
    graph.call(GetParameters, f"{NODE}/get_parameters")
    assert time.monotonic() - asked < 40 * FRAME_S / 2
    load.frames.wait(lambda score: score.sequence == 40)
    state = load.settled()
    assert state.images.evaluated == 40
    assert not account(state.images)


def test_ends_in_time_under_load(start, graph):
    node = start(overflow="block", queue_size=100)
    load = Load(graph)
    for _ in range(300):
        load.send()
    load.frames.wait()
    code, took_s = node.stop()
    assert code == 0, node.output
    assert took_s < 3
