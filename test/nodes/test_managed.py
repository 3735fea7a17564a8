from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.nodes import managed
from deeplab_miou.nodes.managed import ManagedNode
from deeplab_miou.nodes.parameters import Parameter

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
TABLE = (
    Parameter("path", default="x", description="read when configured"),
    Parameter("level", default=1, description="live", maximum=9, read_only=False),
    Parameter("weights", default=[], description="empty list", element=float),
)


class Recorder(ManagedNode):
    """Notes its steps; those in `failing` raise."""

    def __init__(self, failing=None):
        self.failing = failing or {}
        self.steps = []
        super().__init__("recorder", TABLE)

    def _step(self, name):
        self.steps.append(name)
        if name in self.failing:
            raise self.failing[name]

    def configure(self):
        self._step("configure")

    def activate(self):
        self._step("activate")

    def deactivate(self):
        self._step("deactivate")

    def cleanup(self):
        self._step("cleanup")

    def finish(self):
        self._step("finish")

    def settings_changed(self, changes):
        self._step(f"changed {changes}")


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    nodes = []

    def make(failing=None, arguments=()):
        rclpy.init(args=["--ros-args", *arguments])
        nodes.append(Recorder(failing))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_steps_in_order(make):
    node = make()
    for trigger, state in (
        (node.trigger_configure, "inactive"),
        (node.trigger_activate, "active"),
        (node.trigger_deactivate, "inactive"),
        (node.trigger_cleanup, "unconfigured"),
        (node.trigger_configure, "inactive"),
        (node.trigger_activate, "active"),
    ):
        assert trigger() == SUCCESS
        assert node.state_label == state
    assert node.trigger_shutdown() == SUCCESS
    assert node.state_label == "finalized"
    cycle = ["configure", "activate", "deactivate"]
    assert node.steps == [*cycle, "cleanup", *cycle, "finish", "cleanup"]


@pytest.mark.parametrize("depth", range(3))
def test_shutdown_from_every_state(make, depth):
    node = make()
    for trigger in (node.trigger_configure, node.trigger_activate)[:depth]:
        trigger()
    assert node.trigger_shutdown() == SUCCESS
    down = ["finish", "cleanup"]
    assert (
        node.steps
        == [
            [],
            ["configure", *down],
            ["configure", "activate", "deactivate", *down],
        ][depth]
    )


def test_users_mistake_fails_the_step_and_can_be_mended(make, capfd):
    node = make({"configure": ConfigurationError("no file x.pt")})
    assert node.trigger_configure() == FAILURE
    assert node.state_label == "unconfigured"
    assert node.steps == ["configure", "cleanup"]
    node.failing = {}
    assert node.trigger_configure() == SUCCESS
    written = capfd.readouterr().err
    assert "cannot configure: no file x.pt" in written
    assert "Traceback" not in written


def test_failed_activation_is_undone(make):
    node = make({"activate": ConfigurationError("no camera")})
    node.trigger_configure()
    assert node.trigger_activate() == FAILURE
    assert node.state_label == "inactive"
    assert node.steps == ["configure", "activate", "deactivate"]


@pytest.mark.parametrize("step", ["configure", "activate", "deactivate"])
def test_bug_shows_its_traceback_and_leads_back_to_unconfigured(make, capfd, step):
    node = make({step: KeyError("bug")})
    results = [node.trigger_configure()]
    if step != "configure":
        results.append(node.trigger_activate())
    if step == "deactivate":
        node.failing = {}
        node.deactivate = lambda: node.failing["gone"]  # fails once more while going down
        results.append(node.trigger_deactivate())
        assert node.state_label == "finalized"
    else:
        assert node.state_label == "unconfigured"
    assert results[-1] == ERROR
    assert "Traceback" in capfd.readouterr().err
    assert node.steps[-1] == "cleanup"


def test_bad_overrides_wait_for_configure(make, capfd):
    node = make(arguments=["-p", "path:=7", "-p", "level:=12", "-p", "pth:=y"])
    assert node.trigger_configure() == FAILURE
    written = capfd.readouterr().err
    assert "parameter pth is none of this node's" in written
    assert "parameter path is 7, expected a string" in written
    assert "parameter level is 12, expected at most 9" in written
    for name, value in (("path", "y"), ("level", 2)):
        (result,) = node.set_parameters([RosParameter(name, value=value)])
        assert result.successful, result.reason
    assert node.trigger_configure() == SUCCESS
    assert node.settings["path"] == "y"
    assert node.settings["weights"] == []


def test_empty_list_keeps_its_type(make):
    node = make()
    assert node.get_parameter("weights").type_ == RosParameter.Type.DOUBLE_ARRAY


def test_changes_while_configured(make):
    node = make()
    node.trigger_configure()
    for name, value, reason in (
        ("level", 3, ""),
        ("level", 30, "expected at most 9"),
        ("level", "x", "expected a whole number"),
        ("path", "z", "clean the node up"),
    ):
        (result,) = node.set_parameters([RosParameter(name, value=value)])
        assert result.successful == (not reason)
        assert reason in result.reason
    assert node.steps == ["configure", "changed {'level': 3}"]
    assert node.settings["level"] == 3
    assert node.settings["path"] == "x"


def test_refused_change_keeps_the_old_value(make):
    node = make({"changed {'level': 3}": ConfigurationError("three is unlucky")})
    node.trigger_configure()
    (result,) = node.set_parameters([RosParameter("level", value=3)])
    assert result.reason == "three is unlucky"
    assert node.settings["level"] == 1
    assert node.get_parameter("level").value == 1


class Runner:
    """Runs a node with `managed.run` in this thread and acts on it from another."""

    def __init__(self, act, failing=None):
        self.node = None
        self._act = act
        self._failing = failing

    def run(self, *arguments):
        def factory():
            self.node = Recorder(self._failing)
            threading.Thread(target=self._wait_and_act, daemon=True).start()
            return self.node

        began = time.monotonic()
        status = managed.run(factory, ["x", "--ros-args", *arguments])
        assert time.monotonic() - began < 5
        return status

    def _wait_and_act(self):
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and "activate" not in self.node.steps:
            time.sleep(0.005)
        self._act(self.node)


@pytest.fixture(autouse=True)
def no_discovery(monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_in_order_on_a_signal(number):
    before = signal.getsignal(number)
    runner = Runner(lambda _: os.kill(os.getpid(), number))
    assert runner.run() == 0
    assert runner.node.steps == ["configure", "activate", "deactivate", "finish", "cleanup"]
    assert signal.getsignal(number) is before


def test_run_fails_with_a_worker(capfd):
    runner = Runner(lambda node: node.fail(RuntimeError("device on fire")))
    assert runner.run() == 1
    assert runner.node.steps[-3:] == ["deactivate", "finish", "cleanup"]
    assert "device on fire" in capfd.readouterr().err


def test_run_fails_with_a_callback(capfd):
    def act(node):
        node.executor.create_task(lambda: 1 / 0)

    assert Runner(act).run() == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_run_reports_a_report_that_failed(capfd):
    runner = Runner(
        lambda _: os.kill(os.getpid(), signal.SIGINT),
        {"finish": ConfigurationError("disk full")},
    )
    assert runner.run() == 1
    assert runner.node.steps[-1] == "cleanup"
    assert "cannot finish: disk full" in capfd.readouterr().err


def test_run_can_end_when_autostart_fails():
    runner = Runner(lambda _: None, {"configure": ConfigurationError("no file")})
    assert runner.run("-p", "autostart_exit_on_failure:=true") == 1


def test_bad_command_line_is_one_line(capfd):
    status = managed.run(lambda: None, ["x", "--ros-args", "--params-file", "/nowhere.yaml"])
    assert status == 2
    assert "cannot start: " in capfd.readouterr().err


def test_signal_while_a_network_loads_does_not_wait_for_it(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(
        """
import sys, time
from deeplab_miou.nodes.managed import ManagedNode, run

class Slow(ManagedNode):
    def configure(self):
        print("loading", flush=True)
        time.sleep(30)

sys.exit(run(lambda: Slow("slow", ())))
"""
    )
    search = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )
    try:
        assert process.stdout.readline() == "loading\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, written = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "stopped while configuring" in written
    assert time.monotonic() - began < 3
