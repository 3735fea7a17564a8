"""What a node says of itself, and of what it cannot take, on its command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.node_parser import node_parser
from deeplab_miou.options.nodes import NODES

MODULES = {
    "deeplab_evaluator": "evaluator",
    "miou_publisher": "publisher",
    "bag_replayer": "replayer",
    "miou_watch": "watch",
    "miou_comparer": "comparer",
    "miou_foxglove": "foxglove",
}


def run(name, *arguments):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")
    command = [sys.executable, "-m", f"deeplab_miou.nodes.{MODULES[name]}", *arguments]
    environment = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "COLUMNS": "200"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


@pytest.mark.parametrize("name", NODES)
def test_help_names_each_parameter_and_starts_nothing(name):
    told = run(name, "--help", "--ros-args", "-r", "__ns:=/x")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"usage: {name} [-h]")
    lines = [line.split() for line in told.stdout.splitlines() if line.startswith("  ")]
    named = {words[0] for words in lines if words}
    assert {each.name for each in options_of(NODES[name])} <= named


@pytest.mark.parametrize("name", [name for name in NODES if name != "bag_replayer"])
def test_a_parameter_that_would_not_be_set_is_refused(name):
    told = run(name, "checkpoint:=model.pth")
    assert told.returncode == 2
    assert "unrecognized arguments: checkpoint:=model.pth" in told.stderr
    assert "--ros-args -p NAME:=VALUE" in told.stderr


def test_defaults_are_shown_as_they_are_written():
    text = " ".join(node_parser("miou_foxglove", "", NODES["miou_foxglove"]).format_help().split())
    assert "(default: 127.0.0.1)" in text
    assert "(default: 8765)" in text
