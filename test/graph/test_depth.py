"""Bands of depth from real nodes: a paced replay of a bag that rosbags wrote, and a live camera."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU
from depth_drives import (
    BANDS,
    DEPTH,
    FRAMES,
    LABEL,
    PREDICTION,
    REGIONS,
    SHAPE,
    count,
    expected,
    scene,
    write,
)
from graph_support import LATCHED, PUBLISHER, Camera
from sensor_msgs.msg import Image

from deeplab_miou.cli import main
from deeplab_miou.report.agreement import find_differences

LABELS = "cityscapes_train_ids"


@pytest.fixture
def parameters(tmp_path):
    (tmp_path / "regions.yaml").write_text(REGIONS)
    return {
        "source": "topic",
        "labels": LABELS,
        "regions": str(tmp_path / "regions.yaml"),
        "depth_topic": DEPTH,
    }


@pytest.mark.parametrize(
    ("encoding", "drive"),
    [
        ("32FC1", {}),
        ("32FC1; compressedDepth png", {"lag_ns": 350_000_000}),
        ("16UC1; compressedDepth rvl", {}),
        ("16UC1", {"lag_ns": -250_000_000, "offset_ns": 5_000_000}),
        ("32FC1", {"depth": False}),
    ],
)
def test_a_paced_replay_equals_the_offline_run(ros_process, tmp_path, parameters, encoding, drive):
    bag = write(tmp_path / "bag", encoding, **drive)
    tolerance = 0.03 if drive.get("offset_ns") else 0.0
    ros_process(
        "deeplab_miou.nodes.evaluator",
        parameters={**parameters, "image_topic": PREDICTION, "sync_tolerance": tolerance},
    )
    folder = {"report_directory": str(tmp_path / "live")}
    ros_process("deeplab_miou.nodes.publisher", parameters=folder)
    replay = {"paced": True, "publisher": PUBLISHER}
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters=replay)
    assert player.wait(90.0) == 0, player.tail
    live = json.loads((tmp_path / "live" / "report.json").read_text())
    whole, bands, rest = expected(encoding)
    assert live["confusion"] == whole.tolist()
    regions = {each["name"]: each["confusion"] for each in live["regions"]}
    if drive.get("depth", True):
        assert {name: regions[name] for name in bands} == {
            name: matrix.tolist() for name, matrix in bands.items()
        }
        assert live["depth"] == rest
    else:
        assert live["depth"]["frames_without_depth"] == FRAMES
        assert not any(np.any(regions[name]) for name in bands)
    command = ["evaluate", str(bag), "--prediction-topic", PREDICTION, "--label-topic", LABEL]
    command += ["--labels", LABELS, "--output", str(tmp_path / "offline")]
    command += ["--regions", parameters["regions"], "--depth-topic", DEPTH]
    command += ["--sync-tolerance", str(tolerance)]
    assert main(command) == 0
    offline = json.loads((tmp_path / "offline" / "report.json").read_text())
    assert find_differences({**live, "window": None}, offline) == []


def depth_image(metres, sec):
    message = Image(height=SHAPE[0], width=SHAPE[1], step=4 * SHAPE[1], encoding="32FC1")
    message.header.stamp.sec = sec
    message.data.frombytes(np.asarray(metres, np.float32).tobytes())
    return message


def test_frames_are_scored_whether_depth_comes_or_not(ros_process, graph, parameters):
    ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)
    ros_process("deeplab_miou.nodes.publisher")
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    # Nobody publishes depth: each frame waits, but not for long.
    camera = Camera(graph).listen()
    camera.heard_by(2)
    truth, prediction = scene(1)
    camera.send(1000, prediction, truth)
    labelled = int(count(truth, prediction).sum())
    silent = results.wait(lambda result: result.labelled_pixels == labelled)
    assert (silent.frames, silent.frames_without_depth) == (1, 1)
    assert silent.pixels_without_depth == labelled
    # From now on somebody does, once the pair is there.
    depths = graph.publisher(Image, DEPTH)
    depth = np.full(SHAPE, 5.0)
    depth[:, :8], depth[:, 8:16], depth[:3] = 20.0, 40.0, np.nan
    camera.send(1001, prediction, truth)
    depths.publish(depth_image(depth, 1001))
    told = results.wait(lambda result: result.labelled_pixels == 2 * labelled)
    assert told.frames_without_depth == 1
    known = truth != 255
    for name, (near, far) in BANDS.items():
        (region,) = (each for each in told.regions if each.name == name)
        assert region.labelled_pixels == (known & (depth >= near) & (depth < far)).sum()
    assert told.pixels_missing_depth == (known & np.isnan(depth)).sum()
    assert told.pixels_outside_depth == (known & (depth == 40)).sum()
    # It falls silent.
    camera.send(1002, prediction, truth)
    told = results.wait(lambda result: result.labelled_pixels == 3 * labelled)
    assert told.frames_without_depth == 2
    state = camera.state(lambda state: state.reset_count == 1 and state.frames == 3)
    assert (
        sum(state.depth[2:])
        + sum(each.labelled_pixels for each in told.regions if each.name in BANDS)
        == told.labelled_pixels
    )
