"""Everybody in the domain may send anything at any moment: nodes live on, and count right after."""

from __future__ import annotations

import random
import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, MeanIoU
from graph_support import EVALUATOR, LATCHED, LIVE, PUBLISHER, Camera, frames, image
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

ACTIONS = 600
UNANSWERED = 12
PATIENCE_S = 0.5
PARAMETERS = (
    "publish_period",
    "startup_timeout",
    "sync_tolerance",
    "class_weights",
    "absent_classes",
    "report_directory",
    "queue_size",
    "use_sim_time",
    "no_such_parameter",
    "",
    "\0",
)
TEXTS = ("", "zero", "exclude", "/proc/none", "x" * 10_000, "\x1b[2J", "é😀")
FLOATS = (0.0, -1.0, 0.05, 0.5, 1e308, float("nan"), float("inf"))
INTEGERS = (0, 1, -1, 5, 2**62, -(2**63))


class Storm:
    """Sends one random thing after the other."""

    def __init__(self, graph, seed, folder):
        self.graph = graph
        self.random = random.Random(seed)  # noqa: S311  reproducible
        self.folder = str(folder)
        self.unanswered = []
        self.clients = {}
        self.camera = Camera(graph, LIVE)
        publish = graph.node.create_publisher
        self.clock = publish(Clock, "/clock", 10)
        self.states = publish(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED)
        self.outcomes = publish(FrameScore, f"{EVALUATOR}/frame", 100)

    def rage(self):
        actions = (self.send_image, self.send_image, self.send_bytes, self.send_time)
        actions += (self.send_state, self.send_outcome, self.call, self.call)
        actions += (self.change_state, self.change_parameters, self.ask)
        for _ in range(ACTIONS):
            self.random.choice(actions)()
            # At any moment of what is under way, but no faster than it is answered at all.
            self.graph.wait_until(lambda: self._count_unanswered() < UNANSWERED, timeout_s=60.0)

    def _count_unanswered(self):
        # Some have no answer: what is no request, or what a service that is gone was asked.
        since_s = time.monotonic() - PATIENCE_S
        self.unanswered = [
            (future, asked_s)
            for future, asked_s in self.unanswered
            if not future.done() and asked_s > since_s
        ]
        return len(self.unanswered)

    def _node(self):
        return self.random.choice((EVALUATOR, PUBLISHER))

    def _call(self, kind, name, request):
        if name not in self.clients:
            self.clients[name] = self.graph.node.create_client(kind, name)
        if self.clients[name].service_is_ready():
            future = self.clients[name].call_async(request)
            self.unanswered.append((future, time.monotonic()))

    def _image(self):
        pick = self.random.choice
        height, width = pick((0, 1, 2, 7, 2**16, 2**32 - 1)), pick((0, 1, 3, 9, 2**31))
        message = image(
            np.zeros((1, 3), np.uint8),
            pick((-(2**31), -1, 0, 1, 2, 3, 2**31 - 1)),
            pick((0, 1, 999_999_999, 2**32 - 1)),
            pick(("mono8", "8UC1", "rgb8", "16UC1", "32FC1", "", "bayer_rggb8", "x" * 2000)),
        )
        if self.random.random() < 0.7:
            message.height, message.width, message.step = height, width, pick((0, 1, width))
            message.is_bigendian = pick((0, 1, 255))
            message.header.frame_id = pick(("", "camera", "\x1b[31m", "x" * 5000))
            message.data.frombytes(bytes(self.random.randrange(64)))
        return message

    def send_image(self):
        self.random.choice((self.camera.images, self.camera.labels)).publish(self._image())

    def send_bytes(self):
        data = bytearray(serialize_message(self._image()))
        for _ in range(self.random.randrange(1, 6)):
            data[self.random.randrange(4, len(data))] = self.random.randrange(256)
        topic = self.random.choice((self.camera.images, self.camera.labels))
        topic.publish(bytes(data[: self.random.choice((4, 16, len(data)))]))

    def send_time(self):
        message = Clock()
        message.clock.sec = self.random.choice((-(2**31), -5, 0, 1, 7, 2**31 - 1))
        message.clock.nanosec = self.random.choice((0, 2**32 - 1))
        self.clock.publish(message)

    def send_state(self):
        classes = self.random.choice((0, 1, 3, 19, 300))
        message = ConfusionMatrix(
            source=self.random.choice(("", EVALUATOR, "/other", "\n", "x" * 500)),
            run_id=str(self.random.randrange(3)),
            sequence=self.random.randrange(100),
            frames=self.random.choice((0, 1, 2**52, 2**64 - 1)),
            class_names=[f"c{i}" for i in range(classes)],
            provenance=self.random.choice(("", "{", '{"a": ' + "[" * 700 + "]" * 700 + "}")),
        )
        size = self.random.choice((0, classes * (classes + 1)))
        counts = np.full(size, self.random.choice((0, 1, 2**40, 2**64 - 1)), np.uint64)
        message.counts.frombytes(counts.tobytes())
        self.states.publish(message)

    def send_outcome(self):
        message = FrameScore(
            source=self.random.choice((EVALUATOR, "/other")),
            run_id=str(self.random.randrange(3)),
            sequence=self.random.choice((0, 1, 2, 2**63, 2**64 - 1)),
            outcome=self.random.choice(("evaluated", "queue_full", "")),
        )
        message.header.stamp.sec = self.random.choice((-(2**31), 0, 5, 2**31 - 1))
        message.cells = self.random.choice(([], [0], [2**32 - 1], [0] * 70_000))
        message.counts = [self.random.choice((0, 1, 2**64 - 1))] * len(message.cells)
        self.outcomes.publish(message)

    def call(self):
        node, name = self.random.choice(
            (
                (EVALUATOR, "reset"),
                (EVALUATOR, "flush"),
                (EVALUATOR, "flush"),
                (PUBLISHER, "reset"),
                (PUBLISHER, "save_report"),
            )
        )
        self._call(Trigger, f"{node}/{name}", Trigger.Request())
        if self.random.random() < 0.3:
            request = SetBool.Request(data=self.random.random() < 0.5)
            self._call(SetBool, f"{EVALUATOR}/pause", request)

    def change_state(self):
        request = ChangeState.Request()
        # Up more often than down.
        labels = ["configure", "activate"] * 4 + ["deactivate", "cleanup", "", "no_such_transition"]
        request.transition.label = self.random.choice(labels)
        request.transition.id = self.random.choice((1, 2, 3, 4, 99))
        self._call(ChangeState, f"{self._node()}/change_state", request)

    def change_parameters(self):
        changes = []
        for _ in range(self.random.randrange(1, 4)):
            value = ParameterValue(type=self.random.randrange(12))
            value.double_value = self.random.choice(FLOATS)
            value.integer_value = self.random.choice(INTEGERS)
            value.string_value = self.random.choice((*TEXTS, self.folder))
            value.bool_value = self.random.random() < 0.5
            value.double_array_value = [self.random.choice(FLOATS)] * self.random.choice((0, 3, 19))
            changes.append(Parameter(name=self.random.choice(PARAMETERS), value=value))
        kind, name = self.random.choice(
            (
                (SetParameters, "set_parameters"),
                (SetParametersAtomically, "set_parameters_atomically"),
            )
        )
        self._call(kind, f"{self._node()}/{name}", kind.Request(parameters=changes))

    def ask(self):
        names = [self.random.choice(PARAMETERS)]
        kind, name, request = self.random.choice(
            (
                (GetParameters, "get_parameters", GetParameters.Request(names=names)),
                (
                    DescribeParameters,
                    "describe_parameters",
                    DescribeParameters.Request(names=names),
                ),
                (ListParameters, "list_parameters", ListParameters.Request(depth=2**63)),
                (GetState, "get_state", GetState.Request()),
                (
                    GetAvailableTransitions,
                    "get_available_transitions",
                    GetAvailableTransitions.Request(),
                ),
            )
        )
        self._call(kind, f"{self._node()}/{name}", request)


def calm(graph, node):
    """Take a node down and up again, whatever state and settings it is left in."""
    for label in ("deactivate", "cleanup"):
        graph.transition(node, label)
    assert graph.state(node) == "unconfigured"
    for name, value in (("publish_period", 0.05), ("use_sim_time", False)):
        assert graph.set_parameter(node, name, value) == ""
    if node == PUBLISHER:
        assert graph.set_parameter(node, "class_weights", []) == ""
        assert graph.set_parameter(node, "absent_classes", "exclude") == ""
        assert graph.set_parameter(node, "report_directory", "") == ""
    else:
        assert graph.set_parameter(node, "sync_tolerance", 0.0) == ""
        assert graph.set_parameter(node, "queue_size", 100) == ""
    graph.bring_up(node)


@pytest.mark.parametrize("seed", [1, 2])
def test_nodes_outlive_a_storm_and_count_right_after_it(seed, ros_process, graph, tmp_path):
    parameters = {"source": "topic", "labels": "cityscapes_train_ids", "publish_period": 0.05}
    evaluator = ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)
    publisher = ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    storm = Storm(graph, seed, tmp_path / "reports")
    graph.wait_until(storm.camera.images.get_subscription_count)
    storm.rage()
    for publisher_of_lies in (storm.states, storm.outcomes):
        graph.node.destroy_publisher(publisher_of_lies)
    calm(graph, PUBLISHER)
    calm(graph, EVALUATOR)
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    storm.camera.connect()
    for sec in range(1, 11):
        storm.camera.send(sec, prediction=[[0, 1, 2]], label=[[0, 1, 1]])
    result = results.wait(frames(10))
    assert list(result.sources) == [EVALUATOR]
    # IoU 1, 1/2 and 0.
    assert result.miou == pytest.approx(0.5)
    assert result.labelled_pixels == 30
    for node in (evaluator, publisher):
        assert node.stop(signal.SIGINT)[0] == 0
        assert "Traceback" not in node.output
        assert "FATAL" not in node.output
        assert "\x1b" not in node.output
