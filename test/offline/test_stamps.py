"""The whole way: stamps as cameras and labelling services set them, to counts by NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter

MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND


def ids_of(index):
    """Return ids of which no two frames share many."""
    return np.random.default_rng(index).integers(0, 19, (8, 12)).astype(np.uint8)


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Write predictions (stamp, index) and labels in this order; return report and output."""

    def run(messages, *options, code=exit_codes.OK):
        with BagWriter(tmp_path / "bag") as writer:
            for topic, stamp_ns, index in messages:
                writer.write_image(f"/{topic}", stamp_ns, "", mono8(ids_of(index)))
        arguments = ["evaluate", tmp_path / "bag", "--prediction-topic", "/prediction"]
        arguments += ["--label-topic", "/label", "--labels", "cityscapes_train_ids"]
        arguments += ["--output", tmp_path / "output", *options]
        assert cli.main(list(map(str, arguments))) == code
        return json.loads(
            (tmp_path / "output" / "report.json").read_text()
        ), capsys.readouterr().out

    return run


def interleaved(offset_ns, every=3, frames=90, period_ns=33 * MS):
    """A stream in the order of its stamps; every third frame has a label, off by a constant."""
    images = [("prediction", START + k * period_ns, k) for k in range(frames)]
    labels = [("label", START + k * period_ns + offset_ns, k) for k in range(0, frames, every)]
    return sorted(images + labels, key=lambda message: message[1])


@pytest.mark.parametrize("offset_ms", [-15, -1, 1, 15])
def test_a_constant_offset_pairs_each_label_with_its_own_image(evaluate, offset_ms):
    report, shown = evaluate(interleaved(offset_ms * MS), "--sync-tolerance", "0.05")
    assert (report["frames"], report["miou"]) == (30, 1.0)
    assert report["problems"] == []
    expected = {"pairs": 30, "median_s": offset_ms / 1000, "largest_s": offset_ms / 1000}
    assert report["stamp_offsets"] == pytest.approx(expected)
    side = "after" if offset_ms > 0 else "before"
    assert (
        f"labels are stamped {abs(offset_ms)} ms {side} their images in nearly"
        in report["doubts"][-1]
    )
    assert f"labels are {abs(offset_ms)} ms {side} their images in the median" in shown


def test_labels_without_an_image_are_a_problem_that_names_the_tolerance(evaluate):
    report, shown = evaluate(interleaved(49), code=exit_codes.NOTHING_EVALUATED)
    (problem,) = report["problems"]
    assert problem.startswith("30 of 30 labels found no image, though one lies near 30 of them")
    assert "--sync-tolerance 0.000000049 would pair these" in problem
    assert "incomplete: 30 of 30 labels" in shown


def test_one_label_of_thirty_is_said(evaluate):
    messages = interleaved(0)
    messages = [m if m[2] != 3 or m[0] != "label" else (m[0], m[1] + MS, m[2]) for m in messages]
    report, _ = evaluate(messages)
    assert report["frames"] == 29
    assert report["problems"][0].startswith("1 of 30 labels found no image, though one lies near")


def test_unset_stamps_are_said(evaluate):
    messages = [(topic, 0 if topic == "label" else s, k) for topic, s, k in interleaved(0)]
    report, _ = evaluate(messages, code=exit_codes.NOTHING_EVALUATED)
    assert "30 of 30 labels have the stamp 0" in report["problems"][0]


@pytest.mark.parametrize("order", ["reversed", "shuffled", "an hour later"])
def test_the_order_of_a_recording_does_not_matter(evaluate, order):
    messages = interleaved(-MS)
    images = [each for each in messages if each[0] == "prediction"]
    labels = [each for each in messages if each[0] == "label"]
    if order == "reversed":
        labels.reverse()
    elif order == "shuffled":
        np.random.default_rng(2).shuffle(labels)
        labels = [(topic, int(stamp), int(k)) for topic, stamp, k in labels]
    report, _ = evaluate([*images, *labels], "--sync-tolerance", "0.02")
    assert (report["frames"], report["miou"], report["problems"]) == (30, 1.0, [])
