"""Bags as an ordinary tool writes them, replayed with default parameters: nothing is lost."""

from __future__ import annotations

import json
import re
import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import Account, FrameScore, MeanIoU
from graph_support import EVALUATOR, IMAGE, LABEL, LATCHED, PUBLISHER, Camera, evaluator_with, image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.cli import main
from deeplab_miou.report.agreement import find_differences

START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
FRAMES = 60
CLASSES = 19
LABELS = "cityscapes_train_ids"
SHAPE = (12, 16)


class Drive:
    """Predictions and labels of frames: when each is stamped and recorded.

    Args:
        images: numbers of the frames with an image.
        labels: numbers of the frames with a label.
        offset_ns: by how much labels are stamped later than images.
        lag_ns: by how much labels are recorded later.
        order: -1 if labels are recorded backwards.
    """

    def __init__(self, images, labels, *, offset_ns=0, lag_ns=0, order=1):
        self.images, self.labels = images, labels
        self.offset_ns, self.lag_ns, self.order = offset_ns, lag_ns, order
        rng = np.random.default_rng(3)
        self.truth = rng.integers(0, CLASSES + 1, (FRAMES, *SHAPE))
        self.truth[self.truth == CLASSES] = 255
        wrong = rng.integers(0, CLASSES + 1, (FRAMES, *SHAPE))
        self.guess = np.where(rng.random(self.truth.shape) < 0.7, self.truth % 256, wrong)

    @property
    def paired(self):
        return sorted(set(self.images) & set(self.labels))

    def confusion(self):
        """Count with NumPy: rows ground truth, columns prediction, the last one invalid."""
        truth, guess = self.truth[self.paired], self.guess[self.paired]
        cells = np.zeros((CLASSES, CLASSES + 1), np.int64)
        known = truth < CLASSES
        np.add.at(cells, (truth[known], np.minimum(guess[known], CLASSES)), 1)
        return cells

    def write(self, path):
        store = get_typestore(Stores.ROS2_JAZZY)
        kind = store.types["sensor_msgs/msg/Image"]
        header, time = (
            store.types[name] for name in ("std_msgs/msg/Header", "builtin_interfaces/msg/Time")
        )
        messages = [(k * STEP_NS, IMAGE, k * STEP_NS, self.guess[k]) for k in self.images]
        for k, slot in zip(self.labels, self.labels[:: self.order], strict=True):
            recorded_ns = slot * STEP_NS + self.lag_ns + 1
            messages.append((recorded_ns, LABEL, k * STEP_NS + self.offset_ns, self.truth[k]))
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topics = {
                topic: writer.add_connection(topic, kind.__msgtype__, typestore=store)
                for topic in (IMAGE, LABEL)
            }
            for recorded_ns, topic, stamp_ns, pixels in sorted(messages, key=lambda m: m[0]):
                stamp = time(*divmod(START_NS + stamp_ns, 10**9))
                data = pixels.astype(np.uint8).ravel()
                message = kind(header(stamp, "camera"), *SHAPE, "mono8", 0, SHAPE[1], data)
                writer.write(
                    topics[topic],
                    START_NS + max(recorded_ns, 0),
                    store.serialize_cdr(message, kind.__msgtype__),
                )
        return path


ALL = [*range(FRAMES)]
DRIVES = {
    "20 labels without an image": Drive([*range(20, FRAMES)], ALL),
    "20 images without a label": Drive(ALL, [*range(20, FRAMES)]),
    "every third image, every second label": Drive(ALL[::3], ALL[::2]),
    "labels 3 s late": Drive(ALL, ALL[::2], lag_ns=3_000_000_000),
    "labels 3 s early": Drive(ALL, ALL[::2], lag_ns=-3_000_000_000),
    "labels backwards": Drive(ALL, ALL, order=-1),
    "labels backwards, some without an image": Drive(ALL[::2], ALL, order=-1),
    "labels stamped 7 ms late, some without an image": Drive(ALL[20:], ALL, offset_ns=7_000_000),
    "labels stamped 7 ms early, images without one": Drive(ALL, ALL[25:], offset_ns=-7_000_000),
}


# With a thread that works, whose queue is always full, and without.
@pytest.mark.parametrize(
    ("name", "is_slow"),
    [(name, number % 2 == 0) for number, name in enumerate(DRIVES)]
    + [("20 labels without an image", False)],
)
def test_a_paced_replay_scores_every_pair(ros_process, tmp_path, name, is_slow):
    drive = DRIVES[name]
    bag = drive.write(tmp_path / "bag")
    tolerance = {"sync_tolerance": 0.02} if drive.offset_ns else {}
    module = (
        evaluator_with(tmp_path, "time.sleep(0.02)") if is_slow else "deeplab_miou.nodes.evaluator"
    )
    ros_process(module, parameters={"source": "topic", "labels": LABELS, **tolerance})
    ros_process(
        "deeplab_miou.nodes.publisher",
        parameters={"report_directory": str(tmp_path / "live")},
    )
    replay = {"paced": True, "publisher": PUBLISHER}
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters=replay)
    assert player.wait(90.0) == 0
    live = json.loads((tmp_path / "live" / "report.json").read_text())
    assert np.array_equal(live["confusion"], drive.confusion())
    assert live["frames"] == len(drive.paired)
    for stream, numbers in (("images", drive.images), ("labels", drive.labels)):
        lost = len(numbers) - len(drive.paired)
        assert live["accounting"][stream] == {
            "received": len(numbers),
            "evaluated": len(drive.paired),
            "waiting": 0,
            "dropped": {f"unmatched_{stream[:-1]}": lost} if lost else {},
        }
    command = ["evaluate", str(bag), "--prediction-topic", IMAGE, "--label-topic", LABEL]
    command += ["--labels", LABELS, "--output", str(tmp_path / "offline")]
    command += ["--sync-tolerance", "0.02"] if drive.offset_ns else []
    assert main(command) == 0
    offline = json.loads((tmp_path / "offline" / "report.json").read_text())
    # The command keeps no window unless it is told to.
    assert find_differences({**live, "window": None}, offline) == []
    offset_s = pytest.approx(drive.offset_ns / 1e9)
    assert live["stamp_offsets"] == {
        "pairs": len(drive.paired),
        "median_s": offset_s,
        "largest_s": offset_s,
    }
    assert any("is one of the two clocks wrong" in each for each in live["doubts"]) == bool(
        drive.offset_ns
    )


def test_what_somebody_else_sends_meanwhile_is_told(ros_process, graph, tmp_path):
    drive = Drive(ALL, ALL)
    bag = drive.write(tmp_path / "bag")
    module = evaluator_with(tmp_path, "time.sleep(0.02)")
    ros_process(module, parameters={"source": "topic", "labels": LABELS})
    camera = Camera(graph).connect()
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters={"paced": True})
    camera.frames.wait(lambda score: score.outcome == "evaluated")
    # They cannot be told from what was replayed until all of that has arrived.
    for _ in range(3):
        camera.images.publish(image([[0]], 1))
    assert player.wait(60.0) == 1
    assert player.lines(f"{EVALUATOR} received 3 messages that other publishers sent")


def test_an_onlooker_does_not_hold_up_a_camera(ros_process, graph, stranger, tmp_path):
    """As a recorder of all topics: only who publishes and listens paces itself."""
    module = evaluator_with(tmp_path, "time.sleep(0.03)")
    parameters = {"source": "topic", "labels": LABELS, "queue_size": 2, "input_depth": 1000}
    ros_process(module, parameters=parameters)
    accounts = stranger.subscribe(Account, f"{EVALUATOR}/account", 1000)
    camera = Camera(graph).listen()
    for sec in range(1, 61):
        camera.send(sec)
    told = accounts.wait(lambda told: told.images.received == 60 and not told.images.waiting)
    assert not any(each.paced for each in accounts.messages)
    assert 0 < told.images.evaluated < 60


@pytest.mark.parametrize("clock_rate", [0.0, 40.0])
def test_simulated_time_that_stands_still_or_leaps_loses_nothing(ros_process, tmp_path, clock_rate):
    drive = DRIVES["20 labels without an image"]
    bag = drive.write(tmp_path / "bag")
    simulated = {"use_sim_time": True}
    ros_process(
        "deeplab_miou.nodes.evaluator",
        parameters={"source": "topic", "labels": LABELS, **simulated},
    )
    folder = {"report_directory": str(tmp_path / "live")}
    ros_process("deeplab_miou.nodes.publisher", parameters={**folder, **simulated})
    replay = {"paced": True, "publisher": PUBLISHER, "clock_rate": clock_rate, **simulated}
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters=replay)
    assert player.wait(90.0) == 0
    live = json.loads((tmp_path / "live" / "report.json").read_text())
    assert np.array_equal(live["confusion"], drive.confusion())


def test_an_evaluator_that_stops_for_a_while_goes_on(ros_process, tmp_path):
    """Its terminal is suspended; the replay waits for it."""
    drive = Drive(ALL, ALL[::2])
    bag = drive.write(tmp_path / "bag")
    module = evaluator_with(tmp_path, "time.sleep(0.05)")
    evaluator = ros_process(module, parameters={"source": "topic", "labels": LABELS})
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters={"paced": True})
    evaluator.wait_for_output("a paced replay is publishing")
    evaluator.send(signal.SIGSTOP)
    with pytest.raises(AssertionError, match="still runs"):
        player.wait(4.0)
    evaluator.send(signal.SIGCONT)
    assert player.wait(60.0) == 0
    assert player.lines("30 frames evaluated, dropped 30 images: 30 unmatched_image, no label")


def test_an_evaluator_that_is_restarted_meanwhile(ros_process, graph, tmp_path):
    """What it held is lost, and the replay says so, goes on and ends."""
    drive = Drive(ALL, ALL)
    bag = drive.write(tmp_path / "bag")
    module = evaluator_with(tmp_path, "time.sleep(0.05)")
    parameters = {"source": "topic", "labels": LABELS}
    first = ros_process(module, parameters=parameters)
    scores = graph.subscribe(FrameScore, f"{EVALUATOR}/frame", 100)
    player = ros_process("deeplab_miou.nodes.replayer", str(bag), parameters={"paced": True})
    scores.wait(lambda score: score.sequence >= 5)  # the first may come before we are known
    first.awaited = True
    first.send(signal.SIGKILL)
    ros_process(module, parameters=parameters)
    assert player.wait(90.0) == 1
    assert player.lines(f"{EVALUATOR} was restarted: the frames that it held are lost")


def test_offsets_are_in_the_result(ros_process, graph):
    parameters = {"source": "topic", "labels": LABELS, "sync_tolerance": 0.02}
    ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)
    ros_process("deeplab_miou.nodes.publisher")
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera = Camera(graph).listen()
    camera.heard_by(2)  # ours and the publisher's
    offsets_ms = [4, 5, 5, 5, 5, 5, 5, 5, 5, -6]
    for number, offset_ms in enumerate(offsets_ms):
        camera.images.publish(image([[0]], 100 + number, 500_000_000))
        camera.labels.publish(image([[0]], 100 + number, 500_000_000 + offset_ms * 1_000_000))
    # What arrives after the service's call would be flushed without its partner.
    camera.state(lambda state: state.images.received == state.labels.received == 10)
    assert camera.call("flush").success
    told = results.wait(lambda result: result.frames == 10 and not result.missing_frames)
    told = results.wait(lambda result: result.offset_largest == -0.006)
    assert told.offset_median == 0.005
    assert told.offset_note == ""  # the 5 % that lie lowest are of another sign
    for number in range(30):
        camera.images.publish(image([[0]], 200 + number, 500_000_000))
        camera.labels.publish(image([[0]], 200 + number, 505_000_000))
    camera.state(lambda state: state.images.received == state.labels.received == 40)
    assert camera.call("flush").success
    told = results.wait(lambda result: result.offset_note)
    assert told.offset_note.startswith(
        "labels are stamped 5 ms after their images in nearly every pair"
    )


def test_labels_too_late_for_what_is_held_are_told(ros_process, tmp_path):
    drive = DRIVES["labels 3 s late"]  # 30 images later
    parameters = {"source": "topic", "labels": LABELS, "hold_frames": 20}
    evaluator = ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)
    bag = str(drive.write(tmp_path / "bag"))
    player = ros_process("deeplab_miou.nodes.replayer", bag, parameters={"paced": True})
    assert player.wait(60.0) == 0
    line = evaluator.wait_for_output("of 30 labels and their images were not held at the same time")
    # The last 20 images are not pushed out by later ones: every second has a label. The line
    # may be written before the last of the others has come.
    lost = int(re.search(r"(\d+) of 30 labels", line)[1])
    assert 15 <= lost <= 20
    assert player.lines("10 frames evaluated")
