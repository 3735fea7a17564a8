"""The whole way: a bag, ``evaluate --record``, and what other readers find in the recording."""

from __future__ import annotations

import json
from functools import partial

import cv2
import numpy as np
import pytest
from image_files import mono8
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.images.messages import RawImage
from deeplab_miou.offline import recorder
from deeplab_miou.recording import recording

SECOND = 1_000_000_000
NAMES = ("road", "car", "<b>|")


@pytest.fixture
def drive(tmp_path):
    """A drive of 20 s at 4 Hz, one label in ten lacking: truth and predictions (80, 24, 32)."""
    random = np.random.default_rng(11)
    truth, guess = random.integers(0, 3, (2, 80, 24, 32)).astype(np.uint8)
    guess = np.where(random.random(truth.shape) < 0.8, truth, guess).astype(np.uint8)
    truth[::7][truth[::7] == 2] = 0  # some frames lack a class, though it is predicted
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(80):
            stamp_ns = 50 * SECOND + k * SECOND // 4
            writer.write_image("/guess", stamp_ns, "camera", mono8(guess[k]), stamp_ns + 999)
            if k % 10 != 9:
                writer.write_image("/truth", stamp_ns, "camera", mono8(truth[k]), stamp_ns + 999)
    rows = "".join(f"  - {{name: {json.dumps(n)}, ids: [{k}]}}\n" for k, n in enumerate(NAMES))
    (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")
    return truth, guess


def evaluate(folder, *more):
    words = ["evaluate", folder / "bag", "--prediction-topic", "/guess", "--label-topic", "/truth"]
    words += ["--labels", folder / "map.yaml", "--output", folder / "out"]
    return cli.main([str(each) for each in (*words, "--record", folder / "rec", *more)])


def read(folder):
    """Return the messages of each topic as rosbags reads them, by the definitions in the bag."""
    topics = {}
    with AnyReader([folder]) as reader:
        for connection, time_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            topics.setdefault(connection.topic, []).append((time_ns, message))
    return topics


def iou_of(truth, guess):
    return [
        np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c)) for c in range(3)
    ]


def frame_miou_of(truth, guess):
    """Return the mean IoU of one frame over the classes in its ground truth."""
    return np.mean(
        [
            np.sum((truth == c) & (guess == c)) / np.sum((truth == c) | (guess == c))
            for c in np.unique(truth)
        ]
    )


def test_the_recording_holds_what_the_report_and_numpy_say(drive, tmp_path):
    truth, guess = drive
    assert evaluate(tmp_path, "--quiet") == exit_codes.OK
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    topics = read(tmp_path / "rec")
    assert sorted(topics) == [
        "/deeplab_evaluator/frame",
        "/deeplab_evaluator/overlay",
        "/miou_publisher/result",
        "/miou_publisher/window",
    ]

    _, last = topics["/miou_publisher/result"][-1]
    for key in ("miou", "miou_lower", "miou_upper", "pixel_accuracy", "mean_accuracy", "frames"):
        assert getattr(last, key) == report[key]
    assert [each.name for each in last.classes] == list(NAMES)
    for found, known in zip(last.classes, report["classes"], strict=True):
        assert (found.iou, found.iou_lower, found.iou_upper) == tuple(
            known[key] for key in ("iou", "iou_lower", "iou_upper")
        )
    assert last.images.received == 80
    assert dict(zip(last.images.reasons, last.images.dropped, strict=True)) == {
        "unmatched_image": 8
    }

    # At every moment the score of the frames up to its stamp, and the window of the last hundred.
    scored = [k for k in range(80) if k % 10 != 9]
    moments = topics["/miou_publisher/result"]
    assert len(moments) == 21  # each second, and the end
    for time_ns, message in moments[:-1]:
        until = [k for k in scored if 50 * SECOND + k * SECOND // 4 <= time_ns]
        assert message.frames == len(until)
        assert message.miou == pytest.approx(np.mean(iou_of(truth[until], guess[until])))
        assert message.header.stamp.sec * SECOND + message.header.stamp.nanosec == time_ns
        assert message.sources == ["/deeplab_evaluator"]

    # No more frames than the window holds.
    windows = [message.miou for _, message in topics["/miou_publisher/window"]]
    assert windows == pytest.approx([message.miou for _, message in moments])

    # The outcome of each message, at the stamp of its image.
    frames = topics["/deeplab_evaluator/frame"]
    assert sorted(time_ns for time_ns, _ in frames) == [
        50 * SECOND + k * SECOND // 4 for k in range(80)
    ]
    assert sum(message.outcome == "evaluated" for _, message in frames) == 72
    for time_ns, message in frames:
        k = (time_ns - 50 * SECOND) * 4 // SECOND
        known = frame_miou_of(truth[k], guess[k]) if k in scored else np.nan
        assert message.miou == pytest.approx(known, nan_ok=True)
    total = np.zeros(3 * 4, np.int64)
    for _, message in frames:
        np.add.at(total, message.cells, message.counts.astype(np.int64))
    assert total.tolist() == np.ravel(report["confusion"]).tolist()

    overlays = topics["/deeplab_evaluator/overlay"]
    assert len(overlays) == 72
    picture = cv2.imdecode(overlays[0][1].data, cv2.IMREAD_COLOR)
    assert picture.shape == (24, 32, 3)


@pytest.mark.usefixtures("drive")
def test_inspect_lists_what_was_recorded(tmp_path, capsys):
    assert evaluate(tmp_path, "--quiet") == exit_codes.OK
    capsys.readouterr()
    assert cli.main(["inspect", str(tmp_path / "rec"), "--format", "json"]) == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    assert found["topics"] == {
        "/deeplab_evaluator/frame": "80 deeplab_miou_msgs/msg/FrameScore",
        "/deeplab_evaluator/overlay": "72 sensor_msgs/msg/CompressedImage",
        "/miou_publisher/result": "21 deeplab_miou_msgs/msg/MeanIoU",
        "/miou_publisher/window": "21 deeplab_miou_msgs/msg/MeanIoU",
    }
    assert (found["messages"], found["start_s"], found["duration_s"]) == (194, 50.0, 19.75)
    assert found["problems"] == []
    assert cli.main(["inspect", str(tmp_path / "rec")]) == exit_codes.OK
    assert "  /deeplab_evaluator/frame: 80 deeplab" in capsys.readouterr().out


@pytest.mark.usefixtures("drive")
def test_definitions_and_latching_travel_with_the_bag(tmp_path):
    assert evaluate(tmp_path, "--quiet") == exit_codes.OK
    with AnyReader([tmp_path / "rec"]) as reader:
        connections = {each.topic: each for each in reader.connections}
    text = connections["/miou_publisher/result"].msgdef.data
    for nested in ("deeplab_miou_msgs/ClassIoU", "std_msgs/Header", "builtin_interfaces/Time"):
        assert f"MSG: {nested}" in text
    (qos,) = connections["/miou_publisher/result"].ext.offered_qos_profiles
    assert qos.durability is QosDurability.TRANSIENT_LOCAL


def test_a_network_is_drawn_over_the_image(tmp_path):
    random = np.random.default_rng(2)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(3):
            ids = random.integers(0, 8, (70, 100)).astype(np.uint8)
            image = np.repeat(ids[..., None], 3, axis=2) * 20
            raw = RawImage(70, 100, "rgb8", is_bigendian=False, step=300, data=image.tobytes())
            writer.write_image("/camera/image", k * SECOND, "camera", raw)
            writer.write_image("/camera/labels", k * SECOND, "camera", mono8(ids))
    words = ["evaluate", tmp_path / "bag", "--checkpoint", "demo", "--record", tmp_path / "rec"]
    assert cli.main([str(each) for each in (*words, "--quiet")]) == exit_codes.OK
    overlays = read(tmp_path / "rec")["/deeplab_evaluator/overlay"]
    assert [time_ns for time_ns, _ in overlays] == [0, SECOND, 2 * SECOND]


@pytest.mark.usefixtures("drive")
def test_a_long_drive_is_recorded_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "MOST_FRAMES", 10)
    monkeypatch.setattr(recorder, "MOST_OVERLAYS", 6)
    monkeypatch.setattr(recorder, "MOST_SCORES", 5)
    assert recording.MOST_FRAMES == 50_000
    assert evaluate(tmp_path, "--quiet") == exit_codes.OK
    topics = read(tmp_path / "rec")
    assert len(topics["/deeplab_evaluator/frame"]) == 10
    assert len(topics["/deeplab_evaluator/overlay"]) == 6
    assert 5 <= len(topics["/miou_publisher/result"]) <= 13
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert topics["/miou_publisher/result"][-1][1].miou == report["miou"]


@pytest.mark.usefixtures("drive")
def test_regions_make_a_recording_thinner_and_no_larger(tmp_path, monkeypatch):
    most = 16_384
    monkeypatch.setattr(recorder, "Thinning", partial(recording.Thinning, most_bytes=most))
    rows = "".join(f"  - {{name: r{k}, rows: [{k}, {k + 3}]}}\n" for k in range(20))
    (tmp_path / "regions.yaml").write_text(f"regions:\n{rows}")
    regions = ["--regions", str(tmp_path / "regions.yaml")]
    assert evaluate(tmp_path, "--quiet", *regions) == exit_codes.OK
    with AnyReader([tmp_path / "rec"]) as reader:
        sizes = {}
        for connection, _, data in reader.messages():
            sizes.setdefault(connection.topic, []).append(len(data))
    # As many bytes, and one message more, of each step; 80 frames are at most seven steps.
    for topic, each in sizes.items():
        assert sum(each) < 7 * (most + max(each)), topic
    assert 2 < len(sizes["/deeplab_evaluator/frame"]) < 40
    last = read(tmp_path / "rec")["/miou_publisher/result"][-1][1]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert last.miou == report["miou"]
    assert [each.miou for each in last.regions] == [each["miou"] for each in report["regions"]]


@pytest.mark.usefixtures("drive")
def test_an_existing_folder_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "rec").mkdir()
    assert evaluate(tmp_path) == exit_codes.WRONG
    error = capsys.readouterr().err
    assert "already exists" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out" / "report.json").exists()


@pytest.mark.usefixtures("drive")
def test_a_full_disk_costs_the_recording_and_not_the_report(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rosbags.rosbag2.storage_mcap.McapWriter.write", full)
    assert evaluate(tmp_path) == exit_codes.WRONG
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "recording" in line]
    assert "ended early" in line
    assert "No space left on device" in line
    assert json.loads((tmp_path / "out" / "report.json").read_text())["frames"] == 72
    assert "mIoU" in captured.out


@pytest.mark.usefixtures("drive")
def test_several_bags_are_not_one_recording(tmp_path, capsys):
    words = ["evaluate", tmp_path / "bag", tmp_path / "bag2", "--prediction-topic", "/guess"]
    words += ["--output", tmp_path / "o", "--record", tmp_path / "rec"]
    assert cli.main([str(each) for each in words]) == exit_codes.USAGE
    assert "--record takes one bag" in capsys.readouterr().err
