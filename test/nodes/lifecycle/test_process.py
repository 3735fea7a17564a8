from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.nodes.lifecycle import process


class Runner:
    """Runs a node with `process.run` in this thread and acts on it from another."""

    def __init__(self, recorder, act, failing=None):
        self.node = None
        self._recorder = recorder
        self._act = act
        self._failing = failing

    def run(self, *arguments):
        def factory():
            self.node = self._recorder(self._failing)
            threading.Thread(target=self._wait_and_act, daemon=True).start()
            return self.node

        began = time.monotonic()
        status = process.run(factory, args=["x", "--ros-args", *arguments])
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
def test_run_ends_in_order_on_a_signal(number, recorder):
    before = signal.getsignal(number)
    runner = Runner(recorder, lambda _: os.kill(os.getpid(), number))
    assert runner.run() == 0
    assert runner.node.steps == ["configure", "activate", "deactivate", "finish", "cleanup"]
    assert signal.getsignal(number) is before


def test_run_fails_with_a_worker(capfd, recorder):
    runner = Runner(recorder, lambda node: node.fail(RuntimeError("device on fire")))
    assert runner.run() == 1
    assert runner.node.steps[-3:] == ["deactivate", "finish", "cleanup"]
    assert "device on fire" in capfd.readouterr().err


def test_run_fails_with_a_callback(capfd, recorder):
    def act(node):
        node.executor.create_task(lambda: 1 / 0)

    assert Runner(recorder, act).run() == 1
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_run_reports_a_report_that_failed(capfd, recorder):
    runner = Runner(
        recorder,
        lambda _: os.kill(os.getpid(), signal.SIGINT),
        {"finish": ConfigurationError("disk full")},
    )
    assert runner.run() == 1
    assert runner.node.steps[-1] == "cleanup"
    assert "cannot finish: disk full" in capfd.readouterr().err


def test_run_can_end_when_autostart_fails(recorder):
    runner = Runner(recorder, lambda _: None, {"configure": ConfigurationError("no file")})
    assert runner.run("-p", "autostart_exit_on_failure:=true") == 1


def test_bad_command_line_is_one_line(capfd):
    status = process.run(lambda: None, args=["x", "--ros-args", "--params-file", "/nowhere.yaml"])
    assert status == 2
    assert "cannot start: " in capfd.readouterr().err


def test_a_name_that_no_node_may_have_is_one_line(capfd):
    rule = "__node:=front-left"
    with pytest.raises(SystemExit) as ended:
        process.main_alone(
            "miou_publisher", lambda: None, "Add up.", ["x", "--ros-args", "-r", rule]
        )
    assert ended.value.code == 2
    *_, line = capfd.readouterr().err.splitlines()
    assert line.startswith("miou_publisher: error: Failed to parse ROS arguments")
    assert rule in line


SLOW = """
import sys, time
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.options.lifecycle import LifecycleOptions

class Slow(ManagedNode):
{body}
{setup}
sys.exit(process.run(lambda: Slow("slow", LifecycleOptions)))
"""


def end(tmp_path, body, setup=""):
    """Send SIGTERM to a node once it prints; return status, seconds and what it wrote."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(body=textwrap.indent(textwrap.dedent(body), "    "), setup=setup))
    search = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )
    try:
        assert child.stdout.readline() == "begun\n"
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        _, written = child.communicate(timeout=20)
    finally:
        child.kill()
    return child.returncode, time.monotonic() - began, written


def test_signal_while_a_network_loads_does_not_wait_for_it(tmp_path):
    body = """
    def configure(self):
        print("begun", flush=True)
        time.sleep(30)
    """
    status, took_s, written = end(tmp_path, body)
    assert status == 0
    assert "stopped while configuring" in written
    assert took_s < 20  # of 30


HANGS = """
def activate(self):
    print("begun", flush=True)

def deactivate(self):
    time.sleep(30)
"""


@pytest.mark.parametrize(
    ("lost", "status", "said"),
    [("''", 1, "did not stop within 1 s: giving up"), ("'a frame is lost'", 0, "a frame is lost")],
)
def test_what_does_not_end_is_given_up(tmp_path, lost, status, said):
    body = f"{HANGS}\ndef give_up(self):\n    return {lost}\n"
    result, took_s, written = end(tmp_path, body, "process._SHUTDOWN_LIMIT_S = 1.0")
    assert result == status
    assert said in written
    assert took_s < 20  # of 30


def test_what_hangs_while_it_is_given_up_ends_too(tmp_path):
    body = f"{HANGS}\ndef give_up(self):\n    time.sleep(30)\n"
    result, took_s, _ = end(tmp_path, body, "process._SHUTDOWN_LIMIT_S = 1.0")
    assert result == 1
    assert took_s < 20  # of 30
