"""Bands of depth the whole way of a user: a bag that rosbags wrote, the command, NumPy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from depth_drives import DEPTH, FRAMES, LABEL, PREDICTION, REGIONS, expected, write
from test_sections import in_parts, told

from deeplab_miou.cli import main
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

ENCODINGS = (
    *("32FC1", "16UC1", "mono16"),
    *("16UC1; compressedDepth png", "16UC1; compressedDepth", "32FC1; compressedDepth png"),
    *("16UC1; compressedDepth rvl", "32FC1; compressedDepth rvl"),
    "16UC1; png compressed ",
)


def command(bags, folder, *extra):
    """Run the command; returns its exit status and the report, if there is one."""
    (folder / "regions.yaml").write_text(REGIONS)
    status = main(
        [
            *("evaluate", *map(str, bags), "--prediction-topic", PREDICTION),
            *("--label-topic", LABEL, "--labels", "cityscapes_train_ids"),
            *("--regions", str(folder / "regions.yaml"), "--output", str(folder / "out")),
            *extra,
        ]
    )
    file = folder / "out" / "report.json"
    return status, json.loads(file.read_text()) if file.exists() else None


def check(report, encoding, times=1, step=1):
    """Compare a report with what NumPy counts, and see that no pixel is lost."""
    whole, bands, rest = expected(encoding, step)
    assert report["confusion"] == (times * whole).tolist()
    regions = {each["name"]: each for each in report["regions"]}
    assert list(regions) == ["near", "middle", "upper half", "far"]
    for name, matrix in bands.items():
        assert matrix.sum() > (100 if step == 1 else 10)
        assert regions[name]["confusion"] == (times * matrix).tolist(), name
    assert report["depth"] == {name: times * value for name, value in rest.items()}
    assert rest["frames_without_depth"] == FRAMES // 2
    assert rest["frames_with_unusable_depth"] == 2
    pixels = ("pixels_without_depth", "pixels_missing_depth", "pixels_outside_depth")
    assert all(rest[name] for name in pixels)
    counted = sum(int(matrix.sum()) for matrix in bands.values())
    assert counted + sum(rest[name] for name in pixels) == whole.sum()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_band_is_counted_as_numpy_counts_it(tmp_path, capsys, encoding):
    bag = write(tmp_path / "bag", encoding)
    status, report = command([bag], tmp_path, "--depth-topic", DEPTH)
    assert status == 0
    check(report, encoding)
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "out" / "report.html").read_text()):
        assert "of 24 frames 12 have no depth image and 2 one that cannot be used" in text
    assert any("size_mismatch: depth image is 24x24" in each for each in report["problems"])
    assert any("14 of 24 frames have no depth image" in each for each in report["doubts"])


def test_bands_are_at_the_resolution_that_is_scored(tmp_path):
    bag = write(tmp_path / "bag", step=2)
    extra = ("--depth-topic", DEPTH, "--score-at", "prediction")
    status, report = command([bag], tmp_path, *extra)
    assert status == 0
    check(report, "32FC1", step=2)


def test_many_bags_add_up(tmp_path):
    bags = [write(tmp_path / name) for name in ("first", "second")]
    status, report = command(bags, tmp_path, "--depth-topic", DEPTH)
    assert status == 0
    check(report, "32FC1", times=2)


@pytest.mark.parametrize("lag_s", [-1.0, 0.0, 0.06, 1.3])
def test_parts_of_a_bag_make_the_report_of_the_whole(tmp_path, lag_s):
    write(tmp_path / "bag", lag_ns=round(lag_s * 1e9))
    (tmp_path / "regions.yaml").write_text(REGIONS)
    options = OfflineOptions(
        bag=str(tmp_path / "bag"),
        engine=EngineOptions(
            source="topic",
            labels="cityscapes_train_ids",
            regions=str(tmp_path / "regions.yaml"),
        ),
        prediction_topic=PREDICTION,
        label_topic=LABEL,
        depth_topic=DEPTH,
    )
    engine = build_engine(options.engine)
    whole = evaluate(options, engine=engine)
    check(whole.report.to_dict(), "32FC1")
    for most in (1, 5):
        parts, merged = in_parts(options, engine, most, None)
        assert parts == -(-FRAMES // most)
        assert told(merged, b"") == told(whole, b"")
        assert list(merged.report.region_pictures) == list(whole.report.region_pictures)
        for name, pictures in whole.report.region_pictures.items():
            np.testing.assert_array_equal(merged.report.region_pictures[name], pictures)
    section = replace(options, start=1.0, duration=0.5)
    assert evaluate(section, engine=engine).report.result.totals.counts.depth[:2].tolist() == [2, 1]


def test_a_bag_without_depth_images_is_scored_and_says_so(tmp_path):
    bag = write(tmp_path / "bag", depth=False)
    status, report = command([bag], tmp_path, "--depth-topic", DEPTH)
    assert status == 0
    whole, _, _ = expected("32FC1")
    assert report["confusion"] == whole.tolist()
    assert report["depth"]["frames_without_depth"] == FRAMES
    assert report["depth"]["pixels_without_depth"] == whole.sum()
    assert any("no frame has a depth image" in each for each in report["doubts"])


def test_stamps_apart_need_the_tolerance(tmp_path):
    # As an unsynchronised camera has them.
    bag = write(tmp_path / "bag", offset_ns=5_000_000)
    _, equal = command([bag], tmp_path, "--depth-topic", DEPTH)
    assert equal["depth"]["frames_without_depth"] == FRAMES
    _, near = command([bag], tmp_path, "--depth-topic", DEPTH, "--sync-tolerance", "0.03")
    check(near, "32FC1")


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ((), "--depth-topic"),
        (("--depth-topic", "/nothing"), "/nothing"),
        (("--depth-topic", LABEL), "depth images and for labels"),
    ],
)
def test_a_wrong_topic_is_one_line(tmp_path, capsys, extra, text):
    bag = write(tmp_path / "bag")
    status, report = command([bag], tmp_path, *extra)
    assert status == 1
    assert report is None
    assert text in capsys.readouterr().err
