"""replay.launch.py: from a bag to a report, ending by itself."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pytest
from image_files import mono8

pytest.importorskip("launch_testing", reason="ROS 2 launch is not installed")

import launch_testing
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource

from deeplab_miou.bags.writer import BagWriter

FILE = Path(__file__).parents[2] / "launch" / "replay.launch.py"
FRAMES = 40


def write_bag(path):
    """Write labels of class 1, of which the predictions have half as class 0."""
    truth = np.ones((16, 20), np.uint8)
    guess = truth.copy()
    guess[:8] = 0
    with BagWriter(path) as writer:
        for index in range(FRAMES):
            for topic, ids in (("/camera/image", guess), ("/camera/labels", truth)):
                writer.write_image(topic, 10**18 + index * 10**8, "camera", mono8(ids))


@pytest.mark.launch_test
def generate_test_description():
    folder = Path(tempfile.mkdtemp(prefix="deeplab_miou_launch_"))
    write_bag(folder / "bag")
    arguments = {
        "bag": str(folder / "bag"),
        "source": "topic",
        "labels": "cityscapes_train_ids",
        "report_directory": str(folder / "report"),
    }
    description = LaunchDescription(
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
    return description, {"report": folder / "report" / "report.json"}


class TestRunning(unittest.TestCase):
    def test_the_bag_ends(self, proc_info):
        proc_info.assertWaitForShutdown(process="bag_replayer", timeout=120)


@launch_testing.post_shutdown_test()
class TestEnded(unittest.TestCase):
    def test_all_end_in_order(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)

    def test_the_report_is_about_every_frame(self, report):
        written = json.loads(report.read_text())
        assert written["frames"] == FRAMES
        # Class 0 has no intersection, class 1 half of its union.
        assert written["miou"] == 0.25
