"""What `ros2 launch` exits with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.bags.writer import BagWriter

FILES = Path(__file__).parents[2] / "launch"


@pytest.fixture
def launch(tmp_path):
    ros2 = shutil.which("ros2")
    if ros2 is None:
        pytest.skip("ros2 launch is not installed")

    def launch(file="replay", **arguments):
        arguments = {"source": "topic", "labels": "cityscapes_train_ids", **arguments}
        return subprocess.run(
            [
                ros2,
                "launch",
                str(FILES / f"{file}.launch.py"),
                *(f"{name}:={text}" for name, text in arguments.items()),
            ],
            env={
                **os.environ,
                # Graph tests use the domains from 1 to 100.
                "ROS_DOMAIN_ID": "101",
                "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                "ROS_LOG_DIR": str(tmp_path / "log"),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return launch


def write_bag(path, count):
    """Write labels of class 1 and predictions of which the upper half is of class 0."""
    truth = np.ones((16, 20), np.uint8)
    guess = truth.copy()
    guess[:8] = 0
    with BagWriter(path) as writer:
        for index in range(count):
            for topic, ids in (("/camera/image", guess), ("/camera/labels", truth)):
                writer.write_image(topic, 10**18 + index * 10**8, "camera", mono8(ids))


def test_a_bag_that_is_not_there(launch):
    typed = {"start": "1", "duration": "0.5", "rate": "2", "loop": "false", "topics": "[/a,/b]"}
    done = launch(bag="nowhere", **typed)
    assert done.returncode == 2, done.stdout
    assert "does not exist" in done.stdout + done.stderr


@pytest.mark.parametrize("single_process", ["false", "true"])
def test_a_node_that_cannot_be_configured_ends_the_launch(launch, tmp_path, single_process):
    # There is a bag: a replayer that finds none may end the launch before a node says anything.
    write_bag(tmp_path / "bag", 1)
    done = launch(bag="bag", labels="no_such_label_map", single_process=single_process)
    assert done.returncode in {1, 2}, done.stdout
    assert "no_such_label_map is neither" in done.stdout + done.stderr


def test_one_process_scores_a_bag_and_ends(launch, tmp_path):
    write_bag(tmp_path / "bag", 30)
    done = launch(bag="bag", single_process="true", report_directory="report", namespace="car")
    assert done.returncode == 0, done.stdout
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert written["frames"] == 30
    # Class 0 has no intersection, class 1 half of its union.
    assert written["miou"] == 0.25
    assert done.stdout.count("process started with pid") == 2


def test_a_bag_must_be_named(launch):
    done = launch()
    assert done.returncode == 1
    assert "bag" in done.stdout + done.stderr


def test_a_live_launch_ends_with_a_node_that_cannot_be_configured(launch):
    done = launch(file="evaluate", labels="no_such_label_map", exit_on_failure="true")
    assert done.returncode == 1, done.stdout
    assert "no_such_label_map is neither" in done.stdout + done.stderr
