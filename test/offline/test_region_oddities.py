"""Regions that overlap, are empty, cross the edge or have odd names, the whole way of a user."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from image_files import mono8
from region_drives import (
    FRAMES,
    IGNORE,
    LABEL,
    MARKUP,
    PREDICTION,
    count,
    expected,
    scene,
    write,
    write_regions,
)

from deeplab_miou import exit_codes
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.cli import main

EMPTY = ("beneath the bonnet", "nothing so large")


def command(folder, bags, *extra, output="out"):
    """Run the command; returns its exit status and the report, if there is one."""
    status = main(
        [
            *("evaluate", *map(str, bags), "--prediction-topic", PREDICTION),
            *("--label-topic", LABEL, "--labels", "cityscapes_train_ids"),
            *("--output", str(folder / output), *extra),
        ]
    )
    file = folder / output / "report.json"
    return status, json.loads(file.read_text()) if file.exists() else None


def check(report, numbers=range(FRAMES)):
    """Compare the matrices of a report with NumPy's."""
    whole, regions = expected(numbers)
    assert report["confusion"] == whole.tolist()
    assert [each["name"] for each in report["regions"]] == list(regions)
    for each in report["regions"]:
        assert each["confusion"] == regions[each["name"]].tolist(), each["name"]
        assert (each["miou"] is None) == (each["name"] in EMPTY)


def test_odd_regions_are_counted_and_shown_as_they_are(tmp_path, capsys):
    write(tmp_path / "bag")
    regions = ("--regions", str(write_regions(tmp_path)))
    status, report = command(tmp_path, [tmp_path / "bag"], *regions, "--error-types")
    assert status == exit_codes.OK
    check(report)
    empty = (
        "no labelled pixel of any frame lies in regions 'beneath the bonnet', 'nothing so large'"
    )
    assert [each for each in report["doubts"] if each.startswith(empty)]
    shown = capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    summary = (tmp_path / "out" / "report.md").read_text()
    assert f"region {MARKUP}: mIoU 0." in shown
    assert "region nothing so large: mIoU -, 0 pixels" in shown
    reason = report["regions"][4]["intervals"]["reason"]
    for text in (shown, page, summary):
        assert f"no interval for beneath the bonnet, nothing so large: {reason}" in text
    assert '<td class="text">&lt;b&gt;a/b&lt;/b&gt; | [x](javascript:y) {{ 7*7 }} ../c</td>' in page
    assert "<b>a/b" not in page + summary
    assert r"\[x\](javascript" in summary
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *("bag", "lens.png", "out", "regions.yaml"),
    ]


def test_many_bags_and_a_run_that_is_resumed(tmp_path):
    halves = [range(FRAMES // 2), range(FRAMES // 2, FRAMES)]
    bags = [write(tmp_path / name, half) for name, half in zip("ab", halves, strict=True)]
    regions = ("--regions", str(write_regions(tmp_path)))
    status, report = command(tmp_path, bags, *regions)
    assert status == exit_codes.OK
    check(report)
    own = tmp_path / "out" / "bags" / "b"
    check(json.loads((own / "report.json").read_text()), halves[1])
    # One bag is still to do, the other is not done again.
    before = (tmp_path / "out" / "bags" / "a" / "report.json").stat().st_mtime_ns
    for file in own.iterdir():
        file.unlink()
    status, report = command(tmp_path, bags, *regions)
    assert status == exit_codes.OK
    check(report)
    assert (tmp_path / "out" / "bags" / "a" / "report.json").stat().st_mtime_ns == before
    # A mask that was drawn anew is another evaluation.
    mask = cv2.imread(str(tmp_path / "lens.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "lens.png"), mask[::-1])
    status, report = command(tmp_path, bags, *regions)
    found = {each["name"]: each["confusion"] for each in report["regions"]}
    assert found["lens"] != expected()[1]["lens"].tolist()
    assert found["far"] == expected()[1]["far"].tolist()


def test_criteria_of_odd_regions(tmp_path):
    write(tmp_path / "bag")
    (tmp_path / "criteria.yaml").write_text(
        json.dumps(
            {
                "criteria": [
                    {"score": "miou", "region": MARKUP, "at_least": 0.0},
                    {"score": "miou", "region": "FAR", "at_least": 0.0},
                    {"score": "miou", "region": "far", "at_least": 0.99},
                    {"score": "iou", "class": "road", "region": EMPTY[0], "at_least": 0.0},
                ]
            }
        )
    )
    status, report = command(
        tmp_path,
        [tmp_path / "bag"],
        *("--regions", str(write_regions(tmp_path))),
        *("--criteria", str(tmp_path / "criteria.yaml")),
    )
    assert status == exit_codes.NOT_GOOD_ENOUGH
    assert [each["passed"] for each in report["criteria"]] == [True, True, False, False]
    found = {each["name"]: each["miou"] for each in report["regions"]}
    assert [each["value"] for each in report["criteria"]] == [
        *(found[name] for name in (MARKUP, "FAR", "far")),
        None,
    ]


@pytest.mark.parametrize("empty", ["rows: [24, 30]", "polygon: [[40, 0], [50, 0], [50, 9]]"])
@pytest.mark.parametrize("ignore", ["false", "true"])
def test_a_shape_for_larger_images_is_told(tmp_path, capsys, empty, ignore):
    write(tmp_path / "bag")
    (tmp_path / "regions.yaml").write_text(f"regions: [{{name: a, {empty}, ignore: {ignore}}}]")
    regions = ("--regions", str(tmp_path / "regions.yaml"))
    status, _ = command(tmp_path, [tmp_path / "bag"], *regions)
    assert status == exit_codes.NOTHING_EVALUATED
    captured = capsys.readouterr()
    said = " ".join((captured.out + captured.err).split())
    assert "has no pixel of the ground truth that is scored, 32x24" in said


def test_regions_are_at_the_resolution_that_is_scored(tmp_path):
    """Labels are resized to predictions of half their size: mask, rows and border are of those."""
    write(tmp_path / "bag", step=2)
    mask = np.zeros((12, 16), np.uint8)
    mask[2:9, 3:11] = 1
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    (tmp_path / "regions.yaml").write_text(
        "regions:\n  - {name: mask, mask: m.png}\n  - {name: rows, rows: [0.25, 0.75]}\n"
        "  - {name: first, rows: [0, 2]}\n  - {name: edges, border: 1}\n"
    )
    status, report = command(
        tmp_path,
        [tmp_path / "bag"],
        *("--regions", str(tmp_path / "regions.yaml"), "--score-at", "prediction"),
    )
    assert status == exit_codes.OK
    sums = {}
    rows = np.arange(12)[:, None]
    for number in range(FRAMES):
        truth, prediction = scene(number)
        truth, prediction = truth[1::2, 1::2], prediction[::2, ::2]
        around = np.pad(truth, 1, constant_values=IGNORE)
        near = np.zeros(truth.shape, bool)
        for other in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
            near |= (other != truth) & (other != IGNORE)
        for name, where in {
            "mask": mask > 0,
            "rows": (rows >= 3) & (rows < 9),
            "first": rows < 2,
            "edges": near,
        }.items():
            own = count(np.where(where, truth, IGNORE), prediction)
            sums[name] = sums.get(name, 0) + own
    assert {each["name"]: each["confusion"] for each in report["regions"]} == {
        name: matrix.tolist() for name, matrix in sums.items()
    }


def test_void_contours_as_of_pascal_voc(tmp_path):
    """Objects that are five ignored pixels apart have no border, but contours."""
    y, x = np.indices((48, 64))
    away = np.hypot(y - 24, x - 32)
    truth = np.where(abs(away - 15) <= 2.5, IGNORE, np.where(away < 15, 13, 0)).astype(np.uint8)
    predictions = [np.where(np.hypot(y - 24, x - 32 - k % 4) < 15, 13, 0) for k in range(12)]
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        for k, prediction in enumerate(predictions):
            for topic, ids in ((PREDICTION, prediction), (LABEL, truth)):
                writer.write_image(topic, (1 + k) * 10**9, "camera", mono8(ids))
    (tmp_path / "regions.yaml").write_text(
        "regions: [{name: border, border: 3}, {name: contours, void: 3}]"
    )
    regions = ("--regions", str(tmp_path / "regions.yaml"))
    status, report = command(tmp_path, [tmp_path / "bag"], *regions)
    assert status == exit_codes.OK
    assert any("lies in region 'border'" in each for each in report["doubts"])
    border, contours = report["regions"]
    assert border["miou"] is None
    labelled, void = np.argwhere(truth != IGNORE), np.argwhere(truth == IGNORE)
    near = np.zeros(truth.shape, bool)
    near[truth != IGNORE] = [(((void - each) ** 2).sum(axis=1) <= 9).any() for each in labelled]
    chosen = np.where(near, truth, IGNORE)
    assert contours["confusion"] == sum(count(chosen, each) for each in predictions).tolist()


def test_compare_checks_criteria_of_regions(tmp_path, capsys):
    write(tmp_path / "bag")
    regions = ("--regions", str(write_regions(tmp_path)))
    for output, extra in (("a", regions), ("b", regions), ("plain", ())):
        assert command(tmp_path, [tmp_path / "bag"], *extra, output=output)[0] == exit_codes.OK
    miou = json.loads((tmp_path / "b" / "report.json").read_text())["regions"][1]["miou"]
    criteria = tmp_path / "criteria.yaml"
    arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--criteria", str(criteria)]
    for least, code in ((miou, exit_codes.OK), (miou + 1e-9, exit_codes.NOT_GOOD_ENOUGH)):
        criteria.write_text(
            json.dumps({"criteria": [{"score": "miou", "region": "far", "at_least": least}]})
        )
        assert main(arguments) == code
    criteria.write_text("criteria: [{score: miou, region: Far, at_least: 0.1}]")
    assert main(arguments) == exit_codes.WRONG
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "plain")]) == exit_codes.WRONG
    assert "with the same regions ignored" in capsys.readouterr().err
