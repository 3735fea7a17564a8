"""Tags that real nodes hear or are played, against the command and against NumPy."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU
from deeplab_miou_msgs.msg import Tag as TagMessage
from diagnostic_msgs.msg import KeyValue
from graph_support import KEPT, LATCHED, PUBLISHER, Camera
from rosbags.rosbag2 import StoragePlugin
from tagged_drives import FRAMES, SECOND, key_value, string, write_bag

from deeplab_miou.cli import main
from deeplab_miou.report.agreement import find_differences

LABELS = "cityscapes_train_ids"
TOPICS = {"image_topic": "/prediction", "label_topic": "/labels"}
DAY = 400 * 86_400 * SECOND
STRINGS = [string(k, text) for k, text in ((0, "dry"), (7, "rain"), (31, ""), (52, "rain"))]
VALUES = [key_value(k, *each) for k, *each in ((3, "weather", "fog"), (9, "road", "tunnel"))]
LATER = [(kind, at + DAY, fields) for kind, at, fields in STRINGS]


def start(ros_process, **publisher):
    ros_process(
        "deeplab_miou.nodes.evaluator", parameters={"source": "topic", "labels": LABELS, **TOPICS}
    )
    ros_process("deeplab_miou.nodes.publisher", parameters=publisher)


def connected(graph):
    """Return a camera whose frames reach the publisher from now on, and what that says."""
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera = Camera(graph, topics=tuple(TOPICS.values())).connect()
    for sec in range(1, 100):
        camera.send(sec)
        results.wait(lambda result, sec=sec: result.frames == sec)
        # The outcomes of the first frames are published before the publisher is known.
        if any(result.slices for result in results.messages):
            break
    results.messages.clear()
    assert camera.call("reset").success
    results.wait(lambda result: result.frames == 0 and not result.slices)
    results.messages.clear()
    return camera, results


@pytest.mark.parametrize(
    ("drive", "section"),
    [
        ({"tags": STRINGS}, 0.0),
        ({"tags": VALUES, "plugin": StoragePlugin.SQLITE3}, 0.0),
        ({"tags": LATER, "clock_ns": DAY}, 0.0),
        # Tags that are recorded between an image and its label.
        ({"tags": LATER, "clock_ns": DAY, "lag_ns": 700_000_000}, 0.0),
        ({"tags": STRINGS}, 10.0),
    ],
)
def test_a_paced_replay_has_the_slices_of_the_command(ros_process, tmp_path, drive, section):
    bag = write_bag(tmp_path / "bag", **drive)
    start(ros_process, tags_topic="/tag", report_directory=str(tmp_path / "live"))
    replay = {"paced": True, "publisher": PUBLISHER, "start": section}
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters=replay)
    assert player.wait(60.0) == 0
    live = json.loads((tmp_path / "live" / "report.json").read_text())
    command = [
        "evaluate",
        str(bag),
        "--prediction-topic",
        "/prediction",
        "--label-topic",
        "/labels",
    ]
    command += ["--labels", LABELS, "--tags-topic", "/tag", "--output", str(tmp_path / "offline")]
    assert main([*command, "--start", str(section), "--quiet"]) == 0
    offline = json.loads((tmp_path / "offline" / "report.json").read_text())
    assert live["frames"] == offline["frames"] == FRAMES - section
    assert len(live["slices"]) >= 2
    assert live["slices"] == offline["slices"]
    # What was in force before a section is told of the whole bag.
    assert live["tags"] == offline["tags"]
    assert find_differences({**live, "window": None}, offline) == []


def test_tags_that_are_heard(ros_process, graph):
    """They are in force from when they are received, by the publisher's clock."""
    start(ros_process, tags_topic="/weather")
    camera, results = connected(graph)
    tags = graph.publisher(KeyValue, "/weather")
    now = graph.node.get_clock().now().nanoseconds // SECOND
    camera.send(1)
    results.wait(lambda result: result.frames == 1 and [each.key for each in result.slices] == [""])
    tags.publish(KeyValue(key="weather", value=" rain"))
    results.wait(lambda result: [each.key for each in result.slices] == ["weather"])
    for sec in (now - 1000, now + 1000):
        camera.send(sec)
    told = results.wait(
        lambda result: result.frames == 3 and sum(each.frames for each in result.slices) == 3
    )
    found = {each.name: each for each in told.slices}
    assert found["no tag"].frames == 2
    assert found["rain"].frames == 1
    assert found["rain"].miou == pytest.approx(0.5)
    assert found["rain"].labelled_pixels == 3
    assert found["rain"].interval_note.startswith("an interval needs 8 blocks")
    assert [each.iou for each in found["rain"].classes[:2]] == pytest.approx([1.0, 0.5])


def test_a_tag_with_a_stamp_that_comes_after_its_frames(ros_process, graph):
    start(ros_process, tags_topic="/tag", replayer="/player")
    camera, results = connected(graph)
    for sec in range(100, 110):
        camera.send(sec)
    results.wait(lambda result: [each.frames for each in result.slices] == [10])
    tags = graph.publisher(TagMessage, "/player/tags", KEPT)
    for sec, topic, name in ((104, "/other", "x"), (104, "/tag", "rain"), (107, "/tag", "dry")):
        tag = TagMessage(topic=topic, name=name)
        tag.header.stamp.sec = sec
        tags.publish(tag)
    told = results.wait(lambda result: len(result.slices) == 3)
    frames = {each.name: each.frames for each in told.slices}
    assert frames == {"no tag": 4, "rain": 3, "dry": 3}


def test_a_file_of_times_and_what_only_bags_have(ros_process, graph, tmp_path):
    file = tmp_path / "tags.csv"
    file.write_text("start,end,tag\n+1,+2,rain\n")
    process = ros_process(
        "deeplab_miou.nodes.publisher",
        parameters={"tags": str(file), "autostart_exit_on_failure": True},
    )
    assert process.wait() != 0
    assert process.lines("refers to a bag, by a column bag or times that begin with +")
    file.write_text("start,end,tag\n101.5,104,rain\n")
    start(ros_process, tags=str(file))
    camera, results = connected(graph)
    for sec in range(100, 106):
        camera.send(sec)
    told = results.wait(
        lambda result: result.frames == 6 and sum(each.frames for each in result.slices) == 6
    )
    assert {each.name: each.frames for each in told.slices} == {"no tag": 4, "rain": 2}
