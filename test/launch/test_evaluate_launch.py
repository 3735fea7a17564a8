"""evaluate.launch.py for two cameras: starts, subscribes where it should, ends in order."""

from __future__ import annotations

import re
import tempfile
import unittest
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("launch_testing", reason="ROS 2 launch is not installed")

import launch_testing
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource

FILE = Path(__file__).parents[2] / "launch" / "evaluate.launch.py"


def _any_port():
    path = Path(tempfile.mkdtemp()) / "watch.yaml"
    path.write_text("/**/miou_watch: {ros__parameters: {port: 0}}")
    return path


@pytest.mark.launch_test
def generate_test_description():
    arguments = {
        "namespace": "test",
        "cameras": "front,rear",
        "image_topic": "/{camera}/image",
        "label_topic": "/{camera}/labels",
        "source": "topic",
        "labels": "cityscapes_train_ids",
        "log_level": "debug",
        "watch": "true",
        "params_file": str(_any_port()),
    }
    return LaunchDescription(
        [
            # Graph tests use the domains from 1 to 100.
            SetEnvironmentVariable("ROS_DOMAIN_ID", "101"),
            SetEnvironmentVariable("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(FILE)), launch_arguments=arguments.items()
            ),
            launch_testing.actions.ReadyToTest(),
        ]
    )


class TestRunning(unittest.TestCase):
    def test_each_evaluator_activates(self, proc_output):
        for camera in ("front", "rear"):
            proc_output.assertWaitFor(f"deeplab_evaluator_{camera}]: activate: done", timeout=60)

    def test_publisher_activates(self, proc_output):
        proc_output.assertWaitFor("miou_publisher]: activate: done", timeout=60)

    def test_the_page_is_served(self, proc_output):
        proc_output.assertWaitFor("watch the score at http://127.0.0.1:", timeout=60)
        said = "".join(each.text.decode() for each in proc_output)
        address = re.search(r"watch the score at (http://\S+)", said)[1]
        with urllib.request.urlopen(address, timeout=20) as page:  # noqa: S310  our own
            assert b"EventSource" in page.read()


@launch_testing.post_shutdown_test()
class TestEnded(unittest.TestCase):
    def test_all_end_in_order(self, proc_info):
        assert len(list(proc_info.process_names())) == 4
        launch_testing.asserts.assertExitCodes(proc_info)
