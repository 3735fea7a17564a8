"""A simulator that nobody here wrote, running by the real clock, is scored while it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")
pytest.importorskip("vizdoom", reason="vizdoom is not installed: pip install vizdoom")

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, MeanIoU
from graph_support import EVALUATOR, LATCHED, LIVE, PUBLISHER, check_identity, image, matrix
from sensor_msgs.msg import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMES = 40
CLASSES = 5
GUESS = "/guess"


def pixels(message, channels):
    shape = (message.height, message.width, channels)[: 2 + (channels > 1)]
    return np.frombuffer(message.data, np.uint8).reshape(shape)


def stamp_of(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def guess_of(rgb):
    """Return a segmentation by colour: what is red is a monster, what is bright an effect."""
    red, green, blue = (rgb[..., k].astype(int) for k in range(3))
    return np.where(red > green + blue, 2, np.where(red + green > 360, 3, 0)).astype(np.uint8)


@pytest.fixture
def simulator():
    process = None

    def start():
        nonlocal process
        command = [sys.executable, EXAMPLES / "vizdoom_live.py", "--rate", "15"]
        process = subprocess.Popen([*map(str, command), "--frames", str(FRAMES), "--wait", "2"])
        return process

    yield start
    if process is not None and process.poll() is None:
        process.kill()
        process.wait()


def test_a_running_simulator_is_scored_to_the_last_pixel(ros_process, graph, simulator):
    """The test sees the pictures, guesses, and counts what it guessed for itself."""
    guesses = {}
    states = graph.subscribe(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED)
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    scores = graph.subscribe(FrameScore, f"{EVALUATOR}/frame", LIVE)
    pictures = graph.subscribe(Image, "/vizdoom/image", LIVE)
    labels = graph.subscribe(Image, "/vizdoom/labels", LIVE)
    ros_process(
        "deeplab_miou.nodes.evaluator",
        parameters={
            "source": "topic",
            "image_topic": GUESS,
            "label_topic": "/vizdoom/labels",
            "labels": str(EXAMPLES / "vizdoom_labels.yaml"),
        },
    )
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    publisher = graph.publisher(Image, GUESS, LIVE)
    process = simulator()

    for count in range(FRAMES):
        graph.wait_until(lambda count=count: len(pictures.messages) > count, 30.0)
        picture = pictures.messages[count]
        stamp_ns = stamp_of(picture)
        guesses[stamp_ns] = guess_of(pixels(picture, 3))
        stamp = picture.header.stamp
        publisher.publish(image(guesses[stamp_ns], stamp.sec, stamp.nanosec))
    assert process.wait(20) == 0
    graph.wait_until(lambda: len(labels.messages) == FRAMES)
    truths = {stamp_of(each): pixels(each, 1) for each in labels.messages}
    # Image and labels of a moment have one stamp, and time is real.
    assert truths.keys() == guesses.keys()
    assert len(truths) == FRAMES
    times = np.array(sorted(truths))
    assert np.all(np.diff(times) > 10**9 / 15 * 0.9)

    graph.wait_until(lambda: states.messages[-1].labels.evaluated == FRAMES)
    state = states.messages[-1]
    check_identity(state)
    expected = np.zeros((CLASSES, CLASSES + 1), np.int64)
    for stamp_ns, truth in truths.items():
        np.add.at(expected, (truth.ravel(), guesses[stamp_ns].ravel()), 1)
    assert np.array_equal(matrix(state), expected)
    assert expected[1].sum()  # the player is in the picture
    assert expected[2].sum()  # and a monster
    assert expected[:, 2:].sum()  # and more than the world is guessed
    overlap = np.diag(expected)
    union = expected.sum(axis=1) + expected[:, :CLASSES].sum(axis=0) - overlap
    iou = overlap[union > 0] / union[union > 0]
    final = results.wait(lambda message: message.frames == FRAMES)
    assert final.miou == pytest.approx(iou.mean())
    assert all(score.outcome == "evaluated" for score in scores.messages)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(graph, number):
    command = [sys.executable, str(EXAMPLES / "vizdoom_live.py")]
    labels = graph.subscribe(Image, "/vizdoom/labels", LIVE)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            labels.wait(lambda message: message.height == 240)
            process.send_signal(number)
            errors = process.communicate(timeout=20)[1]
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors
