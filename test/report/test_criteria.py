import pytest

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.counts import Axes
from deeplab_miou.report.criteria import check_names, read_criteria
from deeplab_miou.report.judging import are_met, judge

REPORT = {
    "miou": 0.7,
    "miou_lower": None,
    "frames": 12,
    "doubts": ["odd"],
    "image_scores": {
        "image": {"value": 0.6, "lower": 0.55, "upper": 0.65, "reason": None},
        "by_class": {"value": 0.5, "lower": 0.45, "upper": 0.55, "reason": None},
        "worst": {"value": 0.2, "lower": None, "upper": None, "reason": "an interval needs 200"},
    },
    "classes": [
        {"name": "road", "iou": 0.9, "iou_lower": 0.85, "boundary_iou": 0.7, "extent_errors": 0.1},
        {"name": "pole", "iou": None, "iou_lower": None, "boundary_iou": None},
    ],
    "accounting": {
        "images": {
            "received": 20,
            "evaluated": 15,
            "waiting": 0,
            "dropped": {"unmatched_image": 5},
        },
        "labels": {"received": 0, "evaluated": 0, "waiting": 0, "dropped": {}},
    },
}
COMPARISON = {
    "difference": 0.01,
    "lower": -0.002,
    "classes": [{"name": "road", "difference": -0.1, "lower": None}],
}


def criteria(tmp_path, *lines, differences=True, latencies=False):
    path = tmp_path / "criteria.yaml"
    path.write_text("criteria:\n" + "".join(f"  - {{{line}}}\n" for line in lines))
    return read_criteria(str(path), differences=differences, latencies=latencies)


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        ("score: miou, at_least: 0.7", True),
        ("score: miou, at_least: 0.7000001", False),
        ("score: miou, at_most: 0.69", False),
        ("score: miou, at_least: 0.6, at_most: 0.8", True),
        ("score: miou_lower, at_least: 0", False),
        ("score: iou, class: road, at_least: 0.9", True),
        ("score: iou_lower, class: road, at_least: 0.86", False),
        ("score: iou, class: pole, at_least: 0", False),
        ("score: boundary_iou, class: road, at_least: 0.7", True),
        ("score: boundary_iou, class: pole, at_least: 0", False),
        ("score: extent_errors, class: road, at_most: 0.09", False),
        ("score: segment_errors, class: road, at_most: 1", False),
        ("score: frame_miou, at_least: 0.6", True),
        ("score: frame_miou_lower, at_least: 0.56", False),
        ("score: frame_class_miou, at_least: 0.5, at_most: 0.5", True),
        ("score: worst_frames_miou, at_least: 0.21", False),
        ("score: worst_frames_miou_lower, at_least: 0", False),
        ("score: images_evaluated, at_least: 0.75", True),
        ("score: images_evaluated, at_least: 0.76", False),
        ("score: labels_evaluated, at_least: 0", False),
        ("score: images_dropped, at_most: 4", False),
        ("score: images_dropped, reason: unmatched_image, at_most: 5", True),
        ("score: images_dropped, reason: truncated_data, at_most: 0", True),
        ("score: labels_dropped, at_most: 0", True),
        ("score: frames, at_least: 13", False),
        ("score: doubts, at_most: 0", False),
        ("score: difference, at_least: 0.01", True),
        ("score: difference_lower, at_least: -0.001", False),
        ("score: difference, class: road, at_least: -0.1", True),
        ("score: difference_lower, class: road, at_least: -1", False),
    ],
)
def test_criteria_are_judged(tmp_path, line, passed):
    (found,) = judge(criteria(tmp_path, line), REPORT, COMPARISON)
    assert found.passed is passed
    assert are_met([found]) is passed
    assert found.to_dict()["passed"] is passed


def test_what_is_undefined_says_why(tmp_path):
    lines = (
        *("score: miou_lower", "score: iou, class: pole", "score: labels_evaluated"),
        *("score: boundary_iou, class: pole", "score: segment_errors, class: road"),
        "score: worst_frames_miou_lower",
    )
    found = judge(criteria(tmp_path, *(f"{line}, at_least: 0.5" for line in lines)), REPORT)
    assert [each.line for each in found] == [
        "miou_lower at least 0.5: there is no interval",
        "iou of pole at least 0.5: the class does not occur",
        "labels_evaluated at least 0.5: nothing was received",
        "boundary_iou of pole at least 0.5: the class does not occur",
        "segment_errors of road at least 0.5: needs --error-types, or the parameter error_types",
        "worst_frames_miou_lower at least 0.5: there is no interval",
    ]


def test_a_report_without_frames_has_no_means_over_them(tmp_path):
    (found,) = judge(
        criteria(tmp_path, "score: frame_miou, at_least: 0"), {**REPORT, "image_scores": None}
    )
    assert found.line == "frame_miou at least 0: undefined in 12 frames"


def test_differences_are_left_to_compare_and_said(tmp_path):
    found = judge(
        criteria(tmp_path, "score: difference, at_least: 0", "score: miou, at_least: 0"), REPORT
    )
    assert [each.passed for each in found] == [None, True]
    assert are_met(found)
    with pytest.raises(ConfigurationError, match=r"only for what is checked by .*compare"):
        criteria(tmp_path, "score: difference, at_least: 0", differences=False)


def test_latency_is_left_to_the_node_and_said(tmp_path):
    lines = ("score: latency_p95, at_most: 0.1", "score: miou, at_least: 0")
    found = criteria(tmp_path, *lines)
    offline = judge(found, REPORT)
    assert [each.passed for each in offline] == [None, True]
    assert "miou_publisher" in offline[0].line
    live = [judge(found, REPORT, latency_s=latency)[0] for latency in (0.1, 0.11, float("nan"))]
    assert [each.passed for each in live] == [True, False, False]
    with pytest.raises(ConfigurationError, match="only for what is checked by miou_publisher"):
        criteria(tmp_path, lines[0], differences=True)
    assert len(criteria(tmp_path, lines[0], differences=False, latencies=True)) == 1


def test_a_class_that_is_not_there_is_not_met(tmp_path):
    lines = ("score: iou, class: boat, at_least: 0", "score: difference, class: boat, at_most: 1")
    found = judge(criteria(tmp_path, *lines), REPORT, COMPARISON)
    assert [each.passed for each in found] == [False, False]
    assert found[0].line == "iou of boat at least 0: there is no such class"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("score: miou", r"line 2: criteria\[0\] has no at_least and no at_most"),
        ("score: miou, at_least: 0.9, at_most: 0.1", r"at_most is 0.1, less than at_least, 0.9"),
        ("score: miou, at_least: 70", r"at_least is 70, expected a number from 0 to 1"),
        ("score: miou, at_least: .inf", r"at_least is .inf, expected"),
        ("score: miou, at_least: .nan", r"at_least is .nan, expected"),
        ("score: miou, at_least: yes", r"at_least is yes, expected"),
        ("score: miou, at_least: '0.5'", r"at_least is '0.5', expected"),
        ("score: miou, at_least: 0_0.5", r"at_least is 0_0.5, expected"),
        ("score: miou, at_least: 1:30", r"at_least is 1:30, expected"),
        ("score: miou, at_least: 012", r"at_least is 012, expected"),
        ("score: miou, at_least:", r"at_least is None, expected"),
        ("score: miou, at_least: [0.5]", r"at_least is \[0.5\], expected"),
        ("score: miou, at_least: 0.5, at_least: 0.6", r"at_least is given twice"),
        ("score: miou, atleast: 0.5", r"atleast is not a key here"),
        ("score: mIoU, at_least: 0.5", r"score is 'mIoU', expected one of: miou, "),
        ("at_least: 0.5", r"has no score"),
        ("score: 5, at_least: 0.5", r"score is 5, expected text"),
        ("score: iou, at_least: 0.5", r"has no class"),
        ("score: boundary_iou, at_least: 0.5", r"has no class, which boundary_iou needs"),
        ("score: miou, class: road, at_least: 0.5", r"class cannot be used with miou"),
        (
            "score: frame_miou, region: far, at_least: 0.5",
            r"region cannot be used with frame_miou",
        ),
        (
            "score: boundary_iou, class: road, slice: rain, at_least: 0.5",
            r"slice cannot be used with boundary_iou",
        ),
        ("score: miou, reason: bad_size, at_least: 0.5", r"reason cannot be used with miou"),
        ("score: images_dropped, reason: lost, at_most: 5", r"reason is 'lost', expected one of"),
        ("score: images_dropped, at_most: -1", r"at_most is -1, expected a number from 0"),
        ("score: &a miou, at_least: *a", r"aliases"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, line, problem):
    with pytest.raises(ConfigurationError, match=r"criteria file .*criteria.yaml.*" + problem):
        criteria(tmp_path, line)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty, expected keys and values: criteria"),
        ("criteria: []", "has 0 entries"),
        ("criteria: {miou: 0.5}", "expected a list"),
        ("criteria: [0.5]", r"criteria\[0\] is 0.5, expected keys"),
        ("thresholds: []", "thresholds is not a key here"),
        ("criteria: [", "line 1"),
        (
            "criteria:\n- {score: miou, at_least: 0}\n- {score: miou, at_least: 1}",
            r"line 3: criteria\[1\] is about the same as criteria\[0\]",
        ),
    ],
)
def test_files_that_are_none(tmp_path, text, problem):
    path = tmp_path / "criteria.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        read_criteria(str(path), differences=True)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_criteria(str(tmp_path / "nowhere.yaml"), differences=True)


def test_classes_must_be_there(tmp_path):
    found = criteria(tmp_path, "score: miou, at_least: 0", "score: iou, class: rode, at_least: 0")
    check_names(found, Axes(("rode",)))
    with pytest.raises(ConfigurationError, match=r"line 3: there is no class 'rode'; known: road"):
        check_names(found, Axes(("road",)))
