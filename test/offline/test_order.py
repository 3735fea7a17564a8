"""Labels in any order and at any distance; bags as rosbags writes them, counted by NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deeplab_miou import cli, exit_codes
from deeplab_miou.offline import holding, reading

TYPES = get_typestore(Stores.ROS2_JAZZY)
TYPE = "sensor_msgs/msg/Image"
SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
CLASSES = 19
COUNT = 20


def ids(seed):
    return np.random.default_rng(seed).integers(0, CLASSES, (24, 32)).astype(np.uint8)


def serialised(stamp_ns, array):
    time = TYPES.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, SECOND))
    header = TYPES.types["std_msgs/msg/Header"](time, "camera")
    height, width = array.shape
    message = TYPES.types[TYPE](header, height, width, "mono8", 0, width, array.ravel())
    return bytes(TYPES.serialize_cdr(message, TYPE))


def write_bag(path, messages, storage="MCAP"):
    """Write (topic, recording time, stamp, ids), as they come."""
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage]) as writer:
        topics = {
            topic: writer.add_connection(topic, TYPE, typestore=TYPES)
            for topic in ("/prediction", "/camera/labels")
        }
        for topic, recorded_ns, stamp_ns, array in messages:
            writer.write(topics[topic], recorded_ns, serialised(stamp_ns, array))


def stamp(index):
    return BEGIN + 2 * index * SECOND


def images(count=COUNT):
    return [("/prediction", stamp(i), stamp(i), ids(i)) for i in range(count)]


def label(index, recorded_ns, shift_ns=0):
    return "/camera/labels", recorded_ns, stamp(index) + shift_ns, ids(1000 + index)


def counted(pairs):
    """Count (prediction's, label's) number."""
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    for prediction, truth in pairs:
        np.add.at(matrix, (ids(1000 + truth).ravel(), ids(prediction).ravel()), 1)
    return matrix


def evaluate(path, capsys, *more, exit_code=0):
    arguments = ["evaluate", str(path), "--prediction-topic", "/prediction"]
    arguments += ["--labels", "cityscapes_train_ids", "--format", "json", *more]
    assert cli.main(arguments) == exit_code
    return json.loads(capsys.readouterr().out)


def later(order):
    return [label(i, BEGIN + 3600 * SECOND + k * SECOND // 10) for k, i in enumerate(order)]


def slow_service():
    delays = np.random.default_rng(1).uniform(5, 25, COUNT)
    messages = images() + [label(i, stamp(i) + int(delays[i] * SECOND)) for i in range(COUNT)]
    return sorted(messages, key=lambda message: message[1])


ORDERS = {
    "an hour later": lambda: images() + later(range(COUNT)),
    "in reverse": lambda: images() + later(range(COUNT - 1, -1, -1)),
    "of two annotators": lambda: (
        images() + later([i for k in range(COUNT // 2) for i in (k, COUNT // 2 + k)])
    ),
    "of a slow service": slow_service,
    "before the images": lambda: [
        *(label(i, BEGIN - 100 * SECOND + i) for i in range(COUNT)),
        *images(),
    ],
}


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("order", ORDERS)
def test_labels_pair_in_any_order(tmp_path, capsys, storage, order):
    write_bag(tmp_path / "bag", ORDERS[order](), storage)
    report = evaluate(tmp_path / "bag", capsys)
    assert report["frames"] == COUNT
    assert np.array_equal(
        report["confusion"], counted(zip(range(COUNT), range(COUNT), strict=True))
    )
    assert report["accounting"]["labels"]["dropped"] == {}
    assert report["accounting"]["images"]["dropped"] == {}


def test_what_exceeds_memory_is_kept_in_a_file(tmp_path, capsys, monkeypatch):
    kept = []

    class Little(holding.HeldMessages):
        def __init__(self):
            super().__init__(memory_bytes=3 * 24 * 32)
            kept.append(self)

    monkeypatch.setattr(reading, "HeldMessages", Little)
    rounds = [
        (topic, recorded_ns + hour * 7200 * SECOND, stamp_ns + hour * 7200 * SECOND, array)
        for hour in (0, 1)
        for topic, recorded_ns, stamp_ns, array in ORDERS["in reverse"]()
    ]
    write_bag(tmp_path / "bag", rounds)
    report = evaluate(tmp_path / "bag", capsys)
    assert report["frames"] == 2 * COUNT
    expected = counted(zip(range(COUNT), range(COUNT), strict=True))
    assert np.array_equal(report["confusion"], 2 * expected)
    (held,) = kept
    assert held.spilled_bytes > 10 * 24 * 32
    assert all(held.take(number) is None for number in range(8 * COUNT))


def test_each_round_of_a_recorded_loop_pairs_with_itself(tmp_path, capsys):
    messages = [
        each
        for turn in range(3)
        for i in range(COUNT)
        for each in (
            ("/prediction", stamp(i + turn * COUNT), stamp(i), ids(i + turn)),
            ("/camera/labels", stamp(i + turn * COUNT) + 1, stamp(i), ids(1000 + i + turn)),
        )
    ]
    write_bag(tmp_path / "bag", messages)
    report = evaluate(tmp_path / "bag", capsys)
    assert report["frames"] == 3 * COUNT
    pairs = [(i + turn, i + turn) for turn in range(3) for i in range(COUNT)]
    assert np.array_equal(report["confusion"], counted(pairs))


def test_a_label_that_came_twice_costs_no_other(tmp_path, capsys):
    write_bag(tmp_path / "bag", [*images(), *later([0, 1, 2, 0, *range(3, COUNT)])])
    report = evaluate(tmp_path / "bag", capsys)
    assert report["frames"] == COUNT
    assert report["accounting"]["labels"]["dropped"] == {"duplicate_stamp": 1}


def test_stamps_that_were_never_set_pair_once(tmp_path, capsys):
    messages = [
        each
        for i in range(COUNT)
        for each in (("/prediction", stamp(i), 0, ids(i)), ("/camera/labels", stamp(i), 0, ids(i)))
    ]
    write_bag(tmp_path / "bag", messages)
    report = evaluate(tmp_path / "bag", capsys)
    assert report["frames"] == 1
    assert report["accounting"]["images"]["dropped"] == {"duplicate_stamp": COUNT - 1}


def test_a_tolerance_takes_the_nearest_of_the_whole_bag(tmp_path, capsys):
    early = [label(i, stamp(i) - 1, shift_ns=-SECOND // 1000) for i in range(3, COUNT, 3)]
    messages = sorted(images() + early, key=lambda message: message[1])
    write_bag(tmp_path / "bag", messages)
    report = evaluate(tmp_path / "bag", capsys, "--sync-tolerance", "3")
    assert np.array_equal(report["confusion"], counted((i, i) for i in range(3, COUNT, 3)))


def test_a_section_is_cut_by_stamp(tmp_path, capsys):
    write_bag(tmp_path / "bag", ORDERS["in reverse"]())
    report = evaluate(tmp_path / "bag", capsys, "--start", "4", "--duration", "10")
    assert np.array_equal(report["confusion"], counted((i, i) for i in range(2, 7)))
    assert report["accounting"]["images"]["received"] == 5
    assert report["accounting"]["labels"]["received"] == 5
    arguments = ["evaluate", str(tmp_path / "bag"), "--prediction-topic", "/prediction"]
    assert (
        cli.main([*arguments, "--labels", "cityscapes_train_ids", "--start", "39"])
        == exit_codes.WRONG
    )
    assert "start is 39 s" in capsys.readouterr().err
