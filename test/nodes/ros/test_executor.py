from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from deeplab_miou.nodes.ros.executor import NodeExecutor

DEADLINE_S = 20.0


class Spun:
    """A node that is spun, and what became of it."""

    def __init__(self, *arguments):
        rclpy.init(args=["--ros-args", *arguments])
        self.node = rclpy.create_node("spun")
        self.errors = []
        self.failed = threading.Event()
        self.executor = NodeExecutor(self.node, 2, self._fail)
        self.executor.start()

    def _fail(self, error):
        self.errors.append(error)
        self.failed.set()

    def close(self):
        self.executor.stop()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def happens(self, condition):
        deadline_s = time.monotonic() + DEADLINE_S
        while not (value := condition()) and time.monotonic() < deadline_s:
            time.sleep(0.005)
        return value

    def answer(self, future):
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S)
        return future.result()


@pytest.fixture
def spin(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    made = []

    def spin(*arguments):
        made.append(Spun(*arguments))
        return made[-1]

    yield spin
    for each in made:
        each.close()


def logged(spun, capfd):
    """Return what was logged, by callbacks in hand too: these may be overtaken by the next answer.

    It is read once: what is written while pytest reads may be lost.
    """
    spun.executor.stop()
    return capfd.readouterr().err


def test_an_exception_is_handed_over_though_nothing_else_is_due(spin):
    spun = spin()
    spun.executor.create_task(lambda: 1 / 0)
    assert spun.failed.wait(DEADLINE_S)
    assert [type(error) for error in spun.errors] == [ZeroDivisionError]


def test_stop_waits_for_the_callback_in_hand(spin):
    spun = spin()
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def callback():
        begun.set()
        go.wait(DEADLINE_S)
        done.set()

    spun.executor.create_task(callback)
    assert begun.wait(DEADLINE_S)
    threading.Timer(0.05, go.set).start()
    spun.executor.stop()
    assert done.is_set()


def test_what_is_due_waits_for_a_thread_and_costs_nothing_meanwhile(spin):
    """rclpy shows what is due until it runs: who hands that over each time fills a queue."""
    spun = spin()
    begun, go, ran = threading.Barrier(3), threading.Event(), threading.Event()

    def occupy():
        begun.wait(DEADLINE_S)
        go.wait(DEADLINE_S)

    for _ in range(2):
        spun.executor.create_task(occupy)
    begun.wait(DEADLINE_S)
    looks = 0
    look = spun.executor.wait_for_ready_callbacks

    def observe(*arguments):
        nonlocal looks
        looks += 1
        return look(*arguments)

    spun.executor.wait_for_ready_callbacks = observe
    timer = spun.node.create_timer(0.0, lambda: (timer.cancel(), ran.set()))
    spun.executor.wake()
    assert not ran.wait(0.3)
    assert looks == 0
    go.set()
    assert ran.wait(DEADLINE_S)


def test_as_many_callbacks_run_at_once_as_there_are_threads(spin):
    spun = spin()
    together = threading.Barrier(3)
    for _ in range(2):
        spun.executor.create_task(lambda: together.wait(DEADLINE_S))
    together.wait(DEADLINE_S)
    assert not spun.errors


def test_a_clock_before_1970_is_ignored_and_the_next_is_not(spin, capfd):
    spun = spin("-p", "use_sim_time:=true")
    clock = spun.node.create_publisher(Clock, "/clock", QoSProfile(depth=10))
    assert spun.happens(clock.get_subscription_count)
    written = ""

    def says_so():
        nonlocal written
        message = Clock()
        message.clock.sec = -5
        clock.publish(message)
        written += capfd.readouterr().err
        return "/clock: ignored, because rclpy could not process it: ValueError" in written

    assert spun.happens(says_so), written

    def follows():
        message = Clock()
        message.clock.sec = 7
        clock.publish(message)
        return spun.node.get_clock().now().nanoseconds == 7 * 10**9

    assert spun.happens(follows)
    assert not spun.errors


def test_a_parameter_of_an_unknown_type_is_ignored_and_the_next_is_not(spin, capfd):
    spun = spin()
    spun.node.declare_parameter("x", 1)
    group = ReentrantCallbackGroup()
    client = spun.node.create_client(SetParameters, "/spun/set_parameters", callback_group=group)
    assert client.wait_for_service(DEADLINE_S)

    def change(kind):
        value = ParameterValue(type=kind, integer_value=2)
        return SetParameters.Request(parameters=[Parameter(name="x", value=value)])

    client.call_async(change(99))
    assert spun.answer(client.call_async(change(2))).results[0].successful
    assert spun.node.get_parameter("x").value == 2
    assert "99 is not a valid" in logged(spun, capfd)
    assert not spun.errors


def test_an_answer_that_cannot_be_sent_is_ignored(spin, capfd):
    spun = spin()
    service = spun.node.create_service(Trigger, "/answer", lambda _request, response: response)
    client = spun.node.create_client(Trigger, "/answer", callback_group=ReentrantCallbackGroup())
    assert client.wait_for_service(DEADLINE_S)
    send = service.send_response

    def gone(*_):
        service.send_response = send
        raise RuntimeError("client will not receive response")

    service.send_response = gone
    client.call_async(Trigger.Request())
    assert spun.answer(client.call_async(Trigger.Request())) is not None
    assert "client will not receive response" in logged(spun, capfd)
    assert not spun.errors
