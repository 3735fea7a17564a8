from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int64

from deeplab_miou.nodes.ros import rclpy_private
from deeplab_miou.nodes.ros.executor import NodeExecutor
from deeplab_miou.nodes.ros.receiver import (
    DirectReceiver,
    ExecutedReceiver,
    receive,
    receiving_group,
)

DEADLINE_S = 20.0
QOS = QoSProfile(depth=1000)


class Graph:
    """Two topics in one process, and what a receiver of them hands on."""

    def __init__(self):
        self.node = rclpy.create_node("receiving")
        self.publishers = {}
        self.subscriptions = {}
        self.received = []
        self.errors = []
        self.expected = []
        self.changed = threading.Condition()
        self.receiver = None
        for topic in ("first", "second"):
            self.publishers[topic] = self.node.create_publisher(Int64, topic, QOS)
            self.subscribe(topic)

    def subscribe(self, topic, qos=QOS, **events):
        self.subscriptions[topic] = self.node.create_subscription(
            Int64,
            topic,
            lambda _: None,
            qos,
            callback_group=receiving_group(self.node),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False, **events),
        )

    def start(self, callback=lambda _: None, **options):
        def note(topic):
            def take(message):
                callback(message)
                self.note((topic, message.data))

            return take

        callbacks = {
            subscription: note(topic) for topic, subscription in self.subscriptions.items()
        }
        self.receiver = receive(self.node, callbacks, self.fail, **options)

    def stop(self):
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.stop()

    def note(self, what):
        with self.changed:
            self.received.append(what)
            self.changed.notify_all()

    def fail(self, error):
        with self.changed:
            self.errors.append(error)
            self.changed.notify_all()

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE_S), self.received

    def send(self, topic, *numbers):
        for number in numbers:
            self.publishers[topic].publish(Int64(data=number))

    def of(self, topic):
        return [number for name, number in self.received if name == topic]


def play():
    rclpy.init()
    made = Graph()
    executor = NodeExecutor(made.node, 2, made.fail)
    executor.start()
    yield made
    made.stop()
    executor.stop()
    executor.shutdown()
    made.node.destroy_node()
    rclpy.try_shutdown()
    assert made.errors == made.expected


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")


@pytest.fixture
def graph():
    yield from play()


class Other:
    """An rclpy whose private parts are others."""

    WaitSet = None

    class Subscription:
        pass


@pytest.fixture(params=[DirectReceiver, ExecutedReceiver])
def either(request, monkeypatch):
    """A graph with an rclpy as we know it, and one with an rclpy that we do not know."""
    if request.param is ExecutedReceiver:
        monkeypatch.setattr(rclpy_private, "_rclpy", Other)
    for made in play():
        made.kind = request.param
        yield made


@pytest.mark.parametrize("linger_s", [0.0, 0.01])
def test_messages_of_each_topic_come_in_order(either, linger_s):
    either.start(linger_s=linger_s)
    assert type(either.receiver) is either.kind
    for number in range(100):
        either.send("first", number)
        either.send("second", -number)
    either.wait(lambda: len(either.received) == 200)
    assert either.of("first") == [*range(100)]
    assert either.of("second") == [-number for number in range(100)]


def test_what_came_before_is_taken_and_topics_take_turns(graph):
    graph.send("first", 1, 2, 3)
    graph.send("second", 1, 2, 3)
    graph.start()
    graph.wait(lambda: len(graph.received) == 6)
    assert graph.received[:2] == [("first", 1), ("second", 1)]


def test_work_is_done_between_messages_and_finished_at_the_end(either):
    work = []

    def between_messages():
        if work:
            either.note(("worked", work.pop(0)))
        return bool(work)

    def callback(message):
        work.extend([message.data] * 3)

    either.start(callback, between_messages=between_messages)
    either.send("first", 7)
    either.wait(lambda: len(either.of("worked")) == 3)
    work.extend([8, 8])
    either.stop()
    assert either.of("worked") == [7, 7, 7, 8, 8]


def test_what_comes_before_and_after_it_is_left_where_it_is(either):
    either.send("first", 1)
    either.start()
    either.wait(lambda: either.received)
    either.stop()
    either.send("first", 2)
    either.start()
    either.wait(lambda: len(either.received) == 2)
    assert either.of("first") == [1, 2]


def test_what_came_while_it_lingered_is_taken_before_the_end(graph):
    graph.start(linger_s=2 * DEADLINE_S)
    graph.send("first", 1, 2, 3)
    graph.send("second", 4)
    began_s = time.monotonic()
    graph.stop()
    assert time.monotonic() - began_s < DEADLINE_S
    assert graph.of("first") == [1, 2, 3]
    assert graph.of("second") == [4]


def test_messages_that_have_waited_are_taken_before_there_is_work(graph, monkeypatch):
    monkeypatch.setattr("deeplab_miou.nodes.ros.receiver._MOST_WAITING_NS", 0)
    graph.send("first", *range(20))
    graph.start(between_messages=lambda: graph.note(("worked", 0)) or False)
    graph.wait(lambda: len(graph.received) > 20)
    assert [name for name, _ in graph.received[:21]] == ["first"] * 20 + ["worked"]


def test_an_error_ends_it_and_is_told(either):
    def callback(message):
        if message.data == 2:
            raise ZeroDivisionError

    either.start(callback)
    either.send("first", 1, 2, 3)
    either.wait(lambda: either.errors)
    either.expected = either.errors
    assert [type(error) for error in either.errors] == [ZeroDivisionError]
    assert either.received == [("first", 1)]


def test_events_are_looked_at(either):
    told = threading.Event()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    either.node.destroy_subscription(either.subscriptions.pop("second"))
    either.subscribe("second", latched, incompatible_qos=lambda _: told.set())
    either.start()
    assert told.wait(DEADLINE_S)
