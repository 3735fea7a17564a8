"""The whole way: ids that a topic names, from bags as rosbags writes them to counts by NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from label_info_bags import (
    SECOND,
    image,
    label_info,
    semantic_labels,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin

from deeplab_miou import cli

CLASSES = ("road", "traffic_light", "car")
LABELS = """
classes:
  - {name: road, aliases: [floor]}
  - {name: traffic_light}
  - {name: car}
ignore:
  - {name: wall}
"""
NAMES = [(3, "Floor"), (7, "Traffic-Light"), (9, "CAR"), (11, "wall"), (12, "tree")]
UNKNOWN = 40
FRAMES = 12


def frame(seed):
    """Return truth (indices into NAMES; 5 for an id without a name) and prediction, (6, 8)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 6, (6, 8)), generator.integers(0, 3, (6, 8)).astype(np.uint8)


def ids(truth, names, dtype=np.uint8):
    return np.array([*(each for each, _ in names), UNKNOWN], dtype)[truth]


def counted(frames):
    """Count by hand: the first three names are the classes, the others count nowhere."""
    matrix = np.zeros((3, 4), np.int64)
    for truth, prediction in frames:
        for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
            if t < 3:
                matrix[t, p] += 1
    return matrix.tolist()


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Evaluate a bag of messages; return the exit code, the report and what was said."""

    def run(messages, *options, storage=StoragePlugin.MCAP, topic="/names", labels=LABELS):
        write_bag(tmp_path / "bag", messages, storage)
        (tmp_path / "labels.yaml").write_text(labels)
        arguments = ["evaluate", tmp_path / "bag", "--labels", tmp_path / "labels.yaml"]
        arguments += ["--prediction-topic", "/prediction", "--label-topic", "/labels"]
        arguments += ["--output", tmp_path / "out", *options]
        if topic:
            arguments += ["--label-info-topic", topic]
        code = cli.main(list(map(str, arguments)))
        path = tmp_path / "out" / "report.json"
        report = json.loads(path.read_text()) if path.exists() else None
        printed = capsys.readouterr()
        return code, report, printed.out + printed.err

    return run


def frames_of(names_at, dtype=np.uint8, encoding="mono8"):
    """Return the messages of labels and predictions, and the frames that they are of."""
    messages, frames = [], []
    for k in range(FRAMES):
        stamp_ns = (100 + k) * SECOND
        truth, prediction = frame(k)
        frames.append((truth, prediction))
        label = image(ids(truth, names_at(k), dtype), stamp_ns, encoding)
        messages.append(("/labels", stamp_ns, label))
        messages.append(("/prediction", stamp_ns, image(prediction, stamp_ns)))
    return messages, frames


@pytest.mark.parametrize(
    ("storage", "recorded_s", "stamp_s"),
    [
        (StoragePlugin.MCAP, 99, 0),
        (StoragePlugin.SQLITE3, 99, 99),
        (StoragePlugin.MCAP, 105, 105),
        (StoragePlugin.MCAP, 200, 0),
        (StoragePlugin.MCAP, 99, 500),
    ],
)
def test_a_latched_label_info_holds_for_all_labels(evaluate, storage, recorded_s, stamp_s):
    messages, frames = frames_of(lambda _: NAMES)
    info = label_info(NAMES, stamp_s * SECOND)
    messages.append(("/names", recorded_s * SECOND, info))
    messages.sort(key=lambda each: each[1])
    code, report, _ = evaluate(messages, storage=storage)
    assert (code, report["frames"]) == (0, FRAMES)
    assert report["confusion"] == counted(frames)
    unmapped = sum(int((truth == 5).sum()) for truth, _ in frames)
    ignored = sum(int((truth > 2).sum()) for truth, _ in frames)
    assert (report["unmapped_pixels"], report["ignored_pixels"]) == (unmapped, ignored)
    (problem,) = report["problems"]
    assert "names that match no class of label map labels" in problem
    assert problem.endswith("tree (add other names of a class as aliases)")


def test_isaac_sim_gives_other_ids_while_it_runs(evaluate):
    def names_at(k):
        """Return names of which the ids change with every fourth frame."""
        shift = k // 4
        return [((each + 5 * shift) % 37, name) for each, name in NAMES]

    messages, frames = frames_of(names_at, np.int32, "32SC1")
    # As the simulator does: its own time in each, and recorded after the image.
    messages += [
        (
            "/semantic_labels",
            (100 + k) * SECOND + 5,
            semantic_labels(names_at(k), (100 + k) * SECOND),
        )
        for k in range(FRAMES)
        if k != 6  # lost
    ]
    messages.sort(key=lambda each: each[1])
    code, report, _ = evaluate(messages, topic="/semantic_labels")
    assert (code, report["frames"]) == (0, FRAMES)
    assert report["confusion"] == counted(frames)


def test_of_several_names_of_an_id_the_first_that_is_a_class_counts(evaluate):
    names = [(3, "stack,floor"), (7, "traffic light"), (9, "car,road"), (11, "a,b"), (12, "c")]
    messages, frames = frames_of(lambda _: names)
    messages.append(("/names", 99 * SECOND, semantic_labels(names)))
    messages.sort(key=lambda each: each[1])
    _, report, _ = evaluate(messages)
    assert report["confusion"] == counted(frames)


def test_names_without_a_stamp_hold_for_labels_that_come_after_them(evaluate):
    swapped = [(9, "floor"), (7, "traffic light"), (3, "car"), (11, "wall"), (12, "wall")]
    messages, frames = frames_of(lambda k: NAMES if k < 5 else swapped)
    messages.append(("/names", 99 * SECOND, label_info(NAMES)))
    messages.append(("/names", 104 * SECOND + 1, label_info(swapped)))
    messages.sort(key=lambda each: each[1])
    _, report, _ = evaluate(messages)
    assert report["confusion"] == counted(frames)


def test_predictions_are_named_too_and_what_is_no_class_is_wrong(evaluate):
    names = [(0, "car"), (1, "road"), (2, "traffic_light"), (4, "rider")]
    messages, expected = [], np.zeros((3, 4), np.int64)
    for k in range(FRAMES):
        generator = np.random.default_rng(k)
        truth = generator.integers(0, 3, (6, 8)).astype(np.uint8)
        given = generator.choice([0, 1, 2, 4, 5, 255], (6, 8)).astype(np.uint8)
        meant = np.array([2, 0, 1, 3, 3, 3])[np.minimum(given, 5)]
        np.add.at(expected, (truth, meant), 1)
        stamp_ns = (100 + k) * SECOND
        messages.append(("/labels", stamp_ns, image(truth, stamp_ns)))
        messages.append(("/prediction", stamp_ns, image(given, stamp_ns)))
    messages.append(("/named", 99 * SECOND, label_info(names, threshold=0.5)))
    messages.sort(key=lambda each: each[1])
    code, report, _ = evaluate(messages, "--prediction-label-info-topic", "/named", topic="")
    assert code == 0
    assert report["confusion"] == expected.tolist()
    assert any("a confidence threshold of 0.5" in each for each in report["problems"])


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            label_info([(1, "lamp"), (2, "desk")]),
            "name no class of label map labels: they name desk, ",
        ),
        (label_info([]), "name no class of label map labels"),
        (label_info([(1, "road"), (1, "car")]), "gives id 1 two names, 'road' and 'car'"),
        (semantic_labels([]), "hold no id"),
        (semantic_labels([(70000, "road")]), "hold id 70000, expected 0 to 65535"),
    ],
)
def test_names_that_cannot_be_used_drop_the_frames_and_say_why(evaluate, info, expected):
    messages, _ = frames_of(lambda _: NAMES)
    messages.append(("/names", 99 * SECOND, info))
    messages.sort(key=lambda each: each[1])
    code, report, said = evaluate(messages)
    assert code == 4
    assert report["accounting"]["images"]["dropped"] == {"no_label_info": FRAMES}
    assert expected in said


def test_a_topic_that_is_not_there_or_of_another_type_is_named(evaluate):
    messages, _ = frames_of(lambda _: NAMES)
    code, _, said = evaluate(messages, topic="/nothing")
    assert code == 1
    assert "topic '/nothing' of bag" in said


def test_classes_that_cannot_be_told_apart_are_refused(evaluate):
    messages, _ = frames_of(lambda _: NAMES)
    messages.insert(0, ("/names", 99 * SECOND, label_info(NAMES)))
    code, _, said = evaluate(messages, labels="classes: [{name: bus}, {name: car, aliases: [BUS]}]")
    assert code == 1
    assert "'BUS' of class 'car' is also a name of class 'bus'" in said
