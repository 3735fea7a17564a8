"""A recording is bounded, refuses what is there, and its failure costs nothing but itself."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from deeplab_miou.aggregation.frames import FrameStatistics
from deeplab_miou.aggregation.results import Result, Scoring, Totals
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.counts import Axes, Counts
from deeplab_miou.metric.scores import Scores, compute_scores
from deeplab_miou.recording.messages import MEAN_IOU, encode_result, typestore
from deeplab_miou.recording.recording import Recording, Thinning, scores_size
from deeplab_miou.tags.timeline import TagTimeline

SECOND = 1_000_000_000


def result_at(stamp_ns, names=("road", "car")):
    matrix = np.array([[5, 1, 0], [2, 7, 0]])
    totals = Totals(names, Counts(matrix, 3), stamp_ns=stamp_ns, sources=("/e",))
    return Result(totals, compute_scores(matrix))


def read(folder):
    with Reader(folder) as reader:
        return [(each.topic, ns, bytes(data)) for each, ns, data in reader.messages()]


def test_our_definitions_are_those_of_the_message_package():
    names = {name.rpartition("/")[2] for name in typestore().types if "deeplab_miou_msgs" in name}
    source = Path(__file__).parents[2] / "deeplab_miou_msgs" / "msg"
    assert names == {path.stem for path in source.glob("*.msg")}


def test_messages_are_the_same_as_those_of_ros():
    serialization = pytest.importorskip("rclpy.serialization")
    messages = pytest.importorskip("deeplab_miou_msgs.msg")
    outputs = pytest.importorskip("deeplab_miou.nodes.publisher.outputs")

    for result in (result_at(7 * SECOND + 5), Result(Totals.zero(Axes()), Scores.none())):
        found = serialization.deserialize_message(encode_result(result), messages.MeanIoU)
        known = outputs.mean_iou_message(result)
        for field in known.get_fields_and_field_types():
            assert str(getattr(found, field)) == str(getattr(known, field)), field


def test_what_is_written_is_read_back_at_its_stamp(tmp_path):
    recording = Recording(str(tmp_path / "new" / "bag"))
    recording.result(result_at(3 * SECOND))
    recording.overlay("/e", 4 * SECOND, "camera", b"jpeg")
    recording.close()
    (topic, ns, data), (other, later, _) = read(tmp_path / "new" / "bag")
    assert (topic, ns, other, later) == ("/miou_publisher/result", 3 * SECOND, "/e/overlay", 4e9)
    message = typestore().deserialize_cdr(data, MEAN_IOU)
    assert message.header.stamp.sec == 3
    assert message.classes[1].iou == 7 / 10
    assert (tmp_path / "new" / "bag" / "metadata.yaml").is_file()


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_what_is_there_is_refused(tmp_path, there):
    place = tmp_path / "bag"
    if there == "folder":
        place.mkdir()
    elif there == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match=r"bag' already exists: name a new folder"):
        Recording(str(place))
    assert there != "file" or place.read_text() == "mine"


def test_nothing_recorded_leaves_nothing(tmp_path):
    Recording(str(tmp_path / "bag")).close()
    assert not (tmp_path / "bag").exists()


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        Recording(str(tmp_path / "file" / "bag"))


@pytest.mark.parametrize("stamp_ns", [-SECOND, 0, 2**63, 2**70])
def test_odd_stamps_are_recorded_at_the_nearest_time(tmp_path, stamp_ns):
    recording = Recording(str(tmp_path / "bag"))
    recording.frame("/e", stamp_ns, b"\0\1\0\0")
    recording.close()
    assert recording.problem == ""
    ((_, ns, _),) = read(tmp_path / "bag")
    assert ns == min(max(stamp_ns, 0), 2**63 - 1)


def test_a_full_disk_ends_the_recording_in_one_line_and_nothing_else(tmp_path, monkeypatch):
    told = []
    recording = Recording(str(tmp_path / "bag"), on_problem=told.append)
    recording.result(result_at(SECOND))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording._writer._writer.storage, "close_chunk", full)
    for k in range(30):
        recording.frame("/e", k * SECOND, bytes(100_000))
    recording.close()
    (line,) = told
    assert "ended early" in line
    assert "No space left on device" in line
    assert "\n" not in line
    assert recording.problem == line


def test_a_disk_that_is_full_at_the_end_is_told(tmp_path, monkeypatch):
    recording = Recording(str(tmp_path / "bag"))
    recording.result(result_at(SECOND))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recording._writer._writer.storage, "close_chunk", full)
    recording.close()
    assert "No space left on device" in recording.problem


@pytest.mark.parametrize("expected", [0, 10_000, 100_000])
def test_a_long_stream_becomes_thin(expected):
    thinning = Thinning(100, expected)
    passed = [k for k in range(100_000) if thinning.take(1)]
    assert passed[0] == 0
    # 100 of each doubling, of which there are ten.
    assert 90 <= len(passed) <= 1100
    if expected == 100_000:
        assert set(np.diff(passed)) == {1000}


def test_a_short_stream_is_whole():
    thinning = Thinning(100, 100)
    assert [thinning.take(1) for _ in range(100)] == [True] * 100


def test_a_stream_of_large_messages_becomes_thin_sooner():
    thinning = Thinning(1000, most_bytes=10_000)
    passed = [k for k in range(640) if thinning.take(1000)]
    # Ten of each step.
    assert passed[:10] == list(range(10))
    assert np.diff(passed[10:20]).tolist() == [2] * 9
    assert len(passed) <= 70


@pytest.mark.parametrize("classes", [8, 150])
def test_the_size_of_a_result_is_known_well_enough(classes):
    axes, timeline = Axes(tuple(f"class {k}" for k in range(classes))), TagTimeline()
    timeline.add("weather", "rain", 5 * SECOND)
    statistics = FrameStatistics(axes, tags=timeline)
    totals = axes.zero()
    matrix = np.ones((classes, classes + 1), np.int64)
    for k in range(10):
        statistics.add(Counts(matrix, 1), k * SECOND, None)
        totals += Counts(matrix, 1)
    result = statistics.read().result(Totals(axes.classes, totals), Scoring())
    assert len(result.slices) == 2
    assert 0.6 < scores_size(result) / len(encode_result(result)) < 1.7


def test_a_result_is_recorded_with_its_slices():
    axes, timeline = Axes(("road", "car")), TagTimeline()
    timeline.add("weather", "rain", 5 * SECOND)
    statistics = FrameStatistics(axes, tags=timeline)
    totals = axes.zero()
    for k in range(10):
        counts = Counts(np.array([[k, 1, 0], [0, 3, 0]]), 1)
        statistics.add(counts, k * SECOND, None)
        totals += counts
    result = statistics.read().result(Totals(axes.classes, totals), Scoring())
    message = typestore().deserialize_cdr(encode_result(result), MEAN_IOU)
    found = {(each.key, each.name): each for each in message.slices}
    assert {tag: each.frames for tag, each in found.items()} == {
        ("weather", "rain"): 5,
        ("weather", "no tag"): 5,
    }
    rain = found["weather", "rain"]
    assert rain.classes[0].iou == 35 / 40
    assert rain.miou == (35 / 40 + 15 / 20) / 2
    assert math.isnan(rain.miou_lower)
    assert rain.interval_note.endswith("there are 5")
