from __future__ import annotations

import gc
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from deeplab_miou.nodes import taking
from deeplab_miou.nodes.receiver import Unexecuted

TOPIC = "/taken"


@pytest.fixture
def node():
    rclpy.init()
    made = rclpy.create_node("taker")
    yield made
    made.destroy_node()
    rclpy.shutdown()


def images(count):
    """Serialised images of different sizes."""
    for index in range(count):
        side = 10 * (count - index) if index % 2 else 7
        message = Image(height=side, width=side, step=side, encoding="mono8")
        message.data.frombytes(bytes([index]) * side**2)
        yield serialize_message(message)


def take_all(take, count):
    taken, deadline = [], time.monotonic() + 20
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} messages came"
        message = take()
        if message is not None:
            taken.append(message)
    return taken


@pytest.fixture(params=["native", "rclpy"])
def connected(node, request, monkeypatch):
    """A publisher, and what takes its messages serialised, either way."""
    if request.param == "rclpy":
        monkeypatch.setattr(taking, "load_native", lambda: None)
    elif taking.load_native() is None:
        pytest.skip("the C libraries of ROS are not under their usual names")
    subscription = node.create_subscription(
        Image, TOPIC, print, 50, raw=True, callback_group=Unexecuted()
    )
    publisher = node.create_publisher(Image, TOPIC, 50)
    deadline = time.monotonic() + 20
    while not publisher.get_subscription_count():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with subscription.handle:
        yield publisher, taking.make_taker(subscription)


def test_takes_the_bytes_that_were_published(connected):
    publisher, take = connected
    sent = list(images(12))
    for data in sent:
        publisher.publish(data)
    taken = take_all(take, len(sent))
    assert take() is None
    gc.collect()
    assert [bytes(message) for message in taken] == sent
    assert deserialize_message(bytes(taken[3]), Image).data[0] == 3


def test_what_is_no_message_is_taken_all_the_same(connected):
    publisher, take = connected
    data = next(images(1))
    for cut in (data[:40], data[:4], data):
        publisher.publish(cut)
    assert [bytes(message) for message in take_all(take, 3)] == [data[:40], data[:4], data]


def test_memory_lives_as_long_as_a_view_of_it():
    native = taking.load_native()
    if native is None:
        pytest.skip("the C libraries of ROS are not under their usual names")
    message = taking.Serialized(native, 100)
    freed = []
    message._free = lambda reference: freed.append(native.free(reference))
    message.array.length = 100
    view = memoryview(np.asarray(message)).cast("B")[10:20]
    assert view.readonly
    del message
    gc.collect()
    assert not freed
    del view
    gc.collect()
    assert freed == [0]


@pytest.mark.usefixtures("node")
def test_an_error_of_the_middleware_is_raised():
    native = taking.load_native()
    if native is None:
        pytest.skip("the C libraries of ROS are not under their usual names")
    with pytest.raises(RuntimeError, match=r"a message could not be taken: .*subscription"):
        taking._SerializedTaker(None, native)()
