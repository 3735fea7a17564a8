"""Means over the frames of many bags through the command: those of one run over all frames."""

import json
import shutil

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter

SECOND = 1_000_000_000
N = 3
KEYS = ("image", "by_class", "worst")


def drive(seed, frames):
    """Return ground truth and prediction; a class is missing now and then, and so are labels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, N, (frames, 12, 16)).astype(np.uint8)
    for each in truth:
        each[each == random.integers(0, 2 * N)] = 255
    if frames > 3:
        truth[1] = 255
    wrong = random.random(truth.shape) < random.uniform(0.1, 0.4)
    return truth, np.where(wrong, random.integers(0, N + 1, truth.shape), truth).astype(np.uint8)


def write(path, drives, apart_s=1000):
    """Write drives after each other into one bag."""
    with BagWriter(path) as writer:
        for number, (truths, predictions) in enumerate(drives):
            for k, pair in enumerate(zip(predictions, truths, strict=True)):
                stamp_ns = (number * apart_s + k) * SECOND
                for topic, ids in zip(("/prediction", "/labels"), pair, strict=True):
                    writer.write_image(topic, stamp_ns, "", mono8(ids))


@pytest.fixture
def evaluate(tmp_path):
    """Runs the command, returns the report."""
    rows = "".join(f"  - {{name: class {k}, ids: [{k}]}}\n" for k in range(N))
    (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")

    def run(bag, output, *options):
        arguments = [
            *("evaluate", str(bag), "--prediction-topic", "/prediction", "--label-topic"),
            *("/labels", "--labels", str(tmp_path / "map.yaml"), "--output", str(output)),
            *("--error-types", *options),
        ]
        assert cli.main(arguments) == exit_codes.OK
        return json.loads((output / "report.json").read_text())

    return run


def ious(truth, prediction):
    """Return the IoU of each class in the ground truth of a frame."""
    labelled = truth != 255
    found = {}
    for c in np.unique(truth[labelled]):
        a, b = truth == c, (prediction == c) & labelled
        found[int(c)] = (a & b).sum() / (a | b).sum()
    return found


def means(drives):
    """Return mIoU^I, mIoU^C and the mean of the worst 5 % of the IoU of frames, frame by frame."""
    frames = [found for drive in drives for found in drive if found]
    image = [sum(found.values()) / len(found) for found in frames]
    by_class = [np.mean([found[c] for found in frames if c in found]) for c in range(N)]
    worst = np.sort(image)[: max(1, int(0.05 * len(image)))]
    return np.mean(image), np.mean(by_class), np.mean(worst)


@pytest.mark.parametrize("number", [3, 16])
def test_means_over_frames_are_those_of_one_run_over_all_frames(evaluate, tmp_path, number):
    drives = [drive(seed, 3 + seed % 5) for seed in range(number)]
    for k, each in enumerate(drives):
        write(tmp_path / "drives" / f"d{k}", [each])
    write(tmp_path / "all", drives)
    whole = evaluate(tmp_path / "all", tmp_path / "one")
    total = evaluate(tmp_path / "drives", tmp_path / "many")
    found = total["image_scores"]
    frames = [[ious(*pair) for pair in zip(*each, strict=True)] for each in drives]
    for key, expected in zip(KEYS, means(frames), strict=True):
        assert found[key]["value"] == whole["image_scores"][key]["value"]
        # The worst mean takes a part of one of 4096 bins.
        assert found[key]["value"] == pytest.approx(expected, abs=2e-4)
    for key in KEYS[:2]:
        assert found[key]["lower"] < found[key]["value"] < found[key]["upper"]
        assert found[key]["reason"] is None
    assert found["worst"]["lower"] is None
    assert found["worst"]["reason"].startswith("an interval needs 200 frames")
    assert total["mistakes"] == whole["mistakes"]
    for key in ("boundary_iou", "boundary_errors", "extent_errors", "segment_errors"):
        assert [each[key] for each in total["classes"]] == [each[key] for each in whole["classes"]]
        assert all(each[key] is not None for each in total["classes"])
    if number == 16:
        # Intervals by NumPy, with whole drives drawn.
        random = np.random.default_rng(0)
        drawn = [means([frames[k] for k in random.integers(0, 16, 16)]) for _ in range(300)]
        spread = np.diff(np.quantile(drawn, [0.025, 0.975], axis=0), axis=0)[0]
        for key, width in zip(KEYS[:2], spread[:2], strict=True):
            assert 0.75 < (found[key]["upper"] - found[key]["lower"]) / width < 1.5, key
    # What an earlier run has finished counts likewise.
    shutil.rmtree(tmp_path / "many" / "bags" / "d1")
    again = evaluate(tmp_path / "drives", tmp_path / "many")
    assert again["image_scores"] == found
    assert again["mistakes"] == total["mistakes"]
