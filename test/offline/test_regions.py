"""Regions the whole way of a user: a bag, a regions file, the command, counts of its own."""

import json
import math

import cv2
import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.cli import main

SECOND = 1_000_000_000
FRAMES, HEIGHT, WIDTH, CLASSES, IGNORE = 24, 48, 64, 19, 255
REGIONS = """
regions:
  - {name: bonnet, mask: bonnet.png, ignore: true}
  - {name: lens, mask: masks/lens.png}
  - {name: far, rows: [0.0, 0.25]}
  - {name: rows, rows: [10, 20]}
  - {name: triangle, polygon: [[0, 0], [64, 0], [0, 48]]}
  - {name: border, border: 3}
  - {name: interior, interior: 3}
  - {name: small, objects: small}
  - {name: medium, objects: medium}
"""


def scene(index):
    """Return ground truth and prediction of a frame: wrong above all in the first twelve rows."""
    rng = np.random.default_rng(index)
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    truth[5:25, 10 + index % 9 : 40] = 3
    truth[30:36, 50:58] = 5
    truth[40:44, 4:9] = IGNORE
    wrong = rng.random(truth.shape) < np.where(np.arange(HEIGHT) < 12, 0.5, 0.05)[:, None]
    prediction = np.where(wrong, rng.integers(0, CLASSES, truth.shape), np.minimum(truth, 18))
    return truth, prediction.astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bag of a minute, a regions file and its masks."""
    folder = tmp_path_factory.mktemp("regions")
    with BagWriter(folder / "bag", "mcap") as writer:
        for index in range(FRAMES):
            truth, prediction = scene(index)
            stamp_ns = (100 + 3 * index) * SECOND
            writer.write_image("/prediction", stamp_ns, "camera", mono8(prediction))
            writer.write_image("/camera/labels", stamp_ns, "camera", mono8(truth))
    (folder / "masks").mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[-2:] = 255
    cv2.imwrite(str(folder / "bonnet.png"), mask)
    mask[:] = 0
    cv2.circle(mask, (32, 24), 20, 1, -1)
    cv2.imwrite(str(folder / "masks" / "lens.png"), mask)
    (folder / "regions.yaml").write_text(REGIONS)
    return folder


def evaluate(folder, output, *extra):
    """Run the command; returns its exit status and the report, if there is one."""
    status = main(
        [
            "evaluate",
            str(folder / "bag"),
            *("--prediction-topic", "/prediction", "--labels", "cityscapes_train_ids"),
            *("--output", str(output)),
            *extra,
        ]
    )
    file = output / "report.json"
    return status, json.loads(file.read_text()) if file.exists() else None


def inside(truth):
    """Return where each region is, pixel by pixel."""
    y, x = np.indices(truth.shape)
    labelled = truth != IGNORE
    near = np.zeros(truth.shape, bool)
    points = np.argwhere(labelled)
    for row, column in points:
        around = truth[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
        dy, dx = np.indices(around.shape)
        squared = (dy - min(row, 3)) ** 2 + (dx - min(column, 3)) ** 2
        others = (around != IGNORE) & (around != truth[row, column]) & (squared <= 9)
        near[row, column] = others.any()
    pole = truth == 5  # 6 x 8 pixels
    ground = (truth == 0).sum()
    assert ground < 96**2
    return {
        "lens": cv2.circle(np.zeros(truth.shape, np.uint8), (32, 24), 20, 1, -1) > 0,
        "far": y < 12,
        "rows": (y >= 10) & (y < 20),
        "triangle": (x + 0.5) / 64 + (y + 0.5) / 48 < 1,
        "border": near,
        "interior": labelled & ~near,
        "small": pole | ((truth == 3) & ((truth == 3).sum() < 32**2)),
        "medium": (truth == 0) | ((truth == 3) & ((truth == 3).sum() >= 32**2)),
    }


def count(truth, prediction):
    """Return the confusion matrix of a frame."""
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    labelled = truth != IGNORE
    np.add.at(matrix, (truth[labelled], np.minimum(prediction[labelled], CLASSES)), 1)
    return matrix


def test_each_region_is_counted_as_numpy_counts_it(folder, tmp_path):
    status, report = evaluate(folder, tmp_path, "--regions", str(folder / "regions.yaml"))
    assert status == 0
    whole = np.zeros((CLASSES, CLASSES + 1), np.int64)
    expected = {}
    for index in range(FRAMES):
        truth, prediction = scene(index)
        truth[-2:] = IGNORE
        whole += count(truth, prediction)
        for name, where in inside(truth).items():
            own = count(np.where(where, truth, IGNORE), prediction)
            expected[name] = expected.get(name, 0) + own
    assert report["confusion"] == whole.tolist()
    assert [each["name"] for each in report["regions"]] == list(expected)
    for region in report["regions"]:
        assert region["confusion"] == expected[region["name"]].tolist(), region["name"]
        right = expected[region["name"]].diagonal()
        union = (
            expected[region["name"]].sum(axis=1)
            + expected[region["name"]][:, :-1].sum(axis=0)
            - right
        )
        assert region["miou"] == pytest.approx(np.mean(right[union > 0] / union[union > 0]))
        assert region["miou_lower"] < region["miou"] < region["miou_upper"]


def test_the_page_and_the_summary_say_where_it_fails(folder, tmp_path, capsys):
    evaluate(folder, tmp_path, "--regions", str(folder / "regions.yaml"))
    page = (tmp_path / "report.html").read_text()
    summary = (tmp_path / "report.md").read_text()
    assert "region far: mIoU" in capsys.readouterr().out
    for text in (page, summary):
        assert " worse in far than elsewhere" in text
    assert page.count("<h2>Regions</h2>") == 1
    assert "prediction and mistakes in far at" in page


def test_regions_do_not_change_the_score_of_the_whole(folder, tmp_path):
    file = tmp_path / "regions.yaml"
    file.write_text("regions: [{name: far, rows: [0.0, 0.25]}]\n")
    _, without = evaluate(folder, tmp_path / "a")
    _, having = evaluate(folder, tmp_path / "b", "--regions", str(file))
    for key in ("miou", "miou_lower", "confusion", "classes", "intervals", "worst_frames"):
        assert having[key] == without[key]
    assert without["regions"] == []


def test_kinds_of_mistakes_by_hand(tmp_path):
    """A missed seam of 20 pixels, 24 pixels of a wall that is not there, 30 of one that is."""
    truth = np.zeros((40, 60), np.uint8)
    truth[10:30, 10:30] = 3
    truth[35:38, 45:55] = 3
    prediction = np.where(truth == 3, 3, 0).astype(np.uint8)
    prediction[10:30, 10] = 0
    prediction[35:38, 45:55] = 0
    prediction[2:6, 50:56] = 3
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        for index in range(10):
            stamp_ns = (1 + index) * SECOND
            writer.write_image("/prediction", stamp_ns, "camera", mono8(prediction))
            writer.write_image("/camera/labels", stamp_ns, "camera", mono8(truth))
    _, report = evaluate(tmp_path, tmp_path / "o", "--error-types")
    wall, road = report["classes"][3], report["classes"][0]
    union = 400 + 30 + 24
    assert wall["iou"] == pytest.approx(380 / union)
    assert wall["boundary_errors"] == pytest.approx(20 / union)
    assert wall["extent_errors"] == 0
    assert wall["segment_errors"] == pytest.approx(54 / union)
    union = 40 * 60 - 380
    assert road["boundary_errors"] == pytest.approx(20 / union)
    assert road["extent_errors"] == pytest.approx(54 / union)
    assert "<h2>Kinds of mistakes</h2>" in (tmp_path / "o" / "report.html").read_text()
    # Contours one pixel wide: of 20 x 20 and 3 x 10 in truth, of 19 x 20 and 4 x 6 predicted. They
    # share what the squares have in common: 19 pixels above and below, 18 at the right.
    truth_contour, prediction_contour, both = 76 + 22, 74 + 16, 19 + 19 + 18
    boundary_iou = both / (truth_contour + prediction_contour - both)
    assert wall["boundary_iou"] == pytest.approx(boundary_iou)


def test_a_class_that_is_only_predicted_somewhere_is_not_called_worse_there(tmp_path):
    """Sky is labelled in the upper half of even frames only, and predicted everywhere a little."""
    rng = np.random.default_rng(7)
    with BagWriter(tmp_path / "bag", "mcap") as writer:
        for index in range(40):
            truth = np.zeros((HEIGHT, WIDTH), np.uint8)
            truth[:24] = 0 if index // 10 % 2 else 10
            truth[:, :20] = 3
            prediction = np.where(rng.random(truth.shape) < 0.05, 10, truth).astype(np.uint8)
            prediction[:24, :20] = np.where(rng.random((24, 20)) < 0.3, 0, 3)
            stamp_ns = (100 + index) * SECOND
            writer.write_image("/prediction", stamp_ns, "camera", mono8(prediction))
            writer.write_image("/camera/labels", stamp_ns, "camera", mono8(truth))
    (tmp_path / "regions.yaml").write_text("regions: [{name: lower, rows: [0.5, 1.0]}]\n")
    rows = "".join(f"{100 + k},{110 + k},cloud\n" for k in (10, 30))
    (tmp_path / "tags.csv").write_text(f"start,end,tag\n{rows}")
    files = (("--regions", "regions.yaml"), ("--tags", "tags.csv"))
    options = [text for option, name in files for text in (option, str(tmp_path / name))]
    _, report = evaluate(tmp_path, tmp_path / "o", *options)
    (lower,), (cloud, _) = report["regions"], sorted(report["slices"], key=lambda s: s["name"])
    for part in (lower, cloud):
        assert part["classes"][10]["iou"] == 0
        assert part["contrast"]["outside"][1 + 10] > 0.8
        assert part["contrast"]["upper"][1 + 10] is None
    summary = (tmp_path / "o" / "report.md").read_text()
    assert "- mIoU is 0.22 better in lower than elsewhere" in summary
    assert "- wall is 0.25 better in lower than elsewhere" in summary
    assert "- mIoU is 0.02 better with cloud than in the other frames" in summary
    assert "sky is" not in summary


def test_mask_of_another_size_is_named(folder, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "small.png"), np.ones((24, 32), np.uint8))
    (tmp_path / "regions.yaml").write_text("regions: [{name: a, mask: small.png}]\n")
    status, _ = evaluate(folder, tmp_path / "o", "--regions", str(tmp_path / "regions.yaml"))
    assert status != 0
    captured = capsys.readouterr()
    said = " ".join((captured.out + captured.err).split())
    assert "small.png is 32x24, but the ground truth that is scored is 64x48" in said


def test_class_that_is_not_in_a_region_has_no_score(folder, tmp_path):
    (tmp_path / "regions.yaml").write_text("regions: [{name: top, rows: [0, 3]}]\n")
    _, report = evaluate(folder, tmp_path / "o", "--regions", str(tmp_path / "regions.yaml"))
    (top,) = report["regions"]
    assert top["classes"][3]["recall"] is None
    assert not math.isnan(top["miou"])


@pytest.mark.parametrize(("least", "code"), [(0.05, 0), (0.6, 5)])
def test_criterion_of_a_region(folder, tmp_path, least, code):
    (tmp_path / "regions.yaml").write_text("regions: [{name: far, rows: [0.0, 0.25]}]\n")
    (tmp_path / "criteria.yaml").write_text(
        f"criteria: [{{score: iou, class: road, region: far, at_least: {least}}}]\n"
    )
    status, report = evaluate(
        folder,
        tmp_path / "o",
        *("--regions", str(tmp_path / "regions.yaml")),
        *("--criteria", str(tmp_path / "criteria.yaml")),
    )
    (judged,) = report["criteria"]
    assert (status, judged["passed"]) == (code, not code)
    assert judged["value"] == report["regions"][0]["classes"][0]["iou"]


def test_criterion_of_a_region_that_is_not_declared(folder, tmp_path, capsys):
    (tmp_path / "criteria.yaml").write_text(
        "criteria: [{score: miou, region: far, at_least: 0.1}]\n"
    )
    status, _ = evaluate(folder, tmp_path / "o", "--criteria", str(tmp_path / "criteria.yaml"))
    assert status == 1
    assert "there is no region 'far'; known: none" in " ".join(capsys.readouterr().err.split())


def test_criteria_of_kinds_of_mistakes_and_of_frames(folder, tmp_path):
    (tmp_path / "criteria.yaml").write_text(
        "criteria:\n"
        "  - {score: boundary_iou, class: wall, at_least: 0}\n"
        "  - {score: segment_errors, class: wall, at_most: 1}\n"
        "  - {score: worst_frames_miou, at_least: 1}\n"
        "  - {score: frame_miou_lower, at_least: 0}\n"
    )
    status, report = evaluate(
        folder, tmp_path / "o", "--error-types", "--criteria", str(tmp_path / "criteria.yaml")
    )
    assert status == 5
    assert [each["passed"] for each in report["criteria"]] == [True, True, False, True]
    wall, images = report["classes"][3], report["image_scores"]
    assert [each["value"] for each in report["criteria"]] == [
        *(wall["boundary_iou"], wall["segment_errors"]),
        *(images["worst"]["value"], images["image"]["lower"]),
    ]
