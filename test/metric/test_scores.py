import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import MulticlassJaccardIndex

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.metric.scores import class_counts, compute_scores, frame_miou, frame_mious

matrices = st.integers(1, 6).flatmap(
    lambda n: hypothesis_numpy.arrays(np.int64, (n, n + 1), elements=st.integers(0, 10**6))
)


def slow_ious(matrix):
    """Each class's IoU from the definition, in Python integers."""
    ious = []
    for c in range(len(matrix)):
        union = sum(matrix[c]) + sum(row[c] for row in matrix) - matrix[c][c]
        ious.append(matrix[c][c] / union if union else math.nan)
    return ious


def slow_mean(values):
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def test_worked_example():
    ground_truth = np.array([0, 1, 1, 0, 2], np.uint8)
    prediction = np.array([0, 1, 2, 0, 1], np.uint8)
    scores = compute_scores(confusion_matrix(ground_truth, prediction, 3))
    assert scores.iou.tolist() == [1, 1 / 3, 0]
    assert scores.miou == pytest.approx(4 / 9, abs=1e-15)
    assert scores.pixel_accuracy == 3 / 5
    assert scores.mean_accuracy == (1 + 1 / 2 + 0) / 3
    assert scores.frequency_weighted_iou == pytest.approx(2 / 5 + 2 / 5 / 3)
    assert scores.precision.tolist() == [1, 1 / 2, 0]
    assert scores.recall.tolist() == [1, 1 / 2, 0]
    assert scores.f1.tolist() == [1, 1 / 2, 0]
    assert scores.true_positive.tolist() == [2, 1, 0]
    assert scores.false_positive.tolist() == [0, 1, 1]
    assert scores.false_negative.tolist() == [0, 1, 1]


@settings(max_examples=100, deadline=None)
@given(matrices)
def test_agrees_with_the_definition(matrix):
    scores = compute_scores(matrix)
    expected = slow_ious(matrix.tolist())
    np.testing.assert_allclose(scores.iou, expected, rtol=1e-14)
    assert scores.miou == pytest.approx(slow_mean(expected), nan_ok=True)
    np.testing.assert_allclose(scores.f1, 2 * scores.iou / (1 + scores.iou), rtol=1e-12)
    assert scores.miou == pytest.approx(scores.weighted_miou, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(matrices, st.randoms())
def test_relabelling_classes_permutes_scores(matrix, random):
    order = list(range(len(matrix)))
    random.shuffle(order)
    weights = np.arange(1.0, len(matrix) + 1)
    scores = compute_scores(matrix, class_weights=weights)
    relabelled = compute_scores(
        matrix[order][:, [*order, len(matrix)]], class_weights=weights[order]
    )
    np.testing.assert_array_equal(relabelled.iou, scores.iou[order])
    np.testing.assert_array_equal(relabelled.f1, scores.f1[order])
    for name in ("miou", "weighted_miou", "frequency_weighted_iou", "pixel_accuracy"):
        assert getattr(relabelled, name) == pytest.approx(getattr(scores, name), nan_ok=True)


def test_agrees_with_torchmetrics_and_scikit_learn():
    rng = np.random.default_rng(3)
    metric = MulticlassJaccardIndex(8, average="none", ignore_index=255)
    macro = MulticlassJaccardIndex(8, average="macro", ignore_index=255)
    total = np.zeros((8, 9), np.int64)
    frames = []
    for _ in range(4):
        ground_truth = rng.integers(0, 7, (30, 40), dtype=np.uint8)  # class 7 is only predicted
        prediction = np.where(rng.random((30, 40)) < 0.6, ground_truth, 7).astype(np.uint8)
        ground_truth[rng.random((30, 40)) < 0.1] = 255
        confusion_matrix(ground_truth, prediction, 8, out=total)
        pair = torch.from_numpy(prediction).long(), torch.from_numpy(ground_truth).long()
        metric.update(*pair)
        macro.update(*pair)
        frames.append((ground_truth.ravel(), prediction.ravel()))
    scores = compute_scores(total)
    np.testing.assert_allclose(scores.iou, metric.compute().numpy(), rtol=1e-6)
    assert scores.miou == pytest.approx(float(macro.compute()), rel=1e-6)

    truth, predicted = (np.concatenate(maps) for maps in zip(*frames, strict=True))
    valid = truth != 255
    pair = {"y_true": truth[valid], "y_pred": predicted[valid]}
    options = {"labels": np.arange(8), "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(
        scores.iou, sklearn_metrics.jaccard_score(**pair, **options | {"zero_division": 0})
    )
    np.testing.assert_allclose(scores.precision, sklearn_metrics.precision_score(**pair, **options))
    np.testing.assert_allclose(scores.recall, sklearn_metrics.recall_score(**pair, **options))
    np.testing.assert_allclose(scores.f1, sklearn_metrics.f1_score(**pair, **options))
    assert scores.pixel_accuracy == pytest.approx(sklearn_metrics.accuracy_score(**pair))


def test_invalid_predictions_are_misses_and_no_class():
    ground_truth = np.array([0, 0, 1, 1], np.uint8)
    prediction = np.array([0, 200, 1, 1], np.uint8)
    scores = compute_scores(confusion_matrix(ground_truth, prediction, 2))
    assert scores.iou.tolist() == [0.5, 1]
    assert scores.false_negative.tolist() == [1, 0]
    assert scores.false_positive.tolist() == [0, 0]
    assert scores.precision.tolist() == [1, 1]
    assert scores.pixel_accuracy == 0.75


@pytest.mark.parametrize("absent_classes", ["exclude", "zero"])
def test_no_frame_yet(absent_classes):
    scores = compute_scores(np.zeros((3, 4), np.int64), absent_classes=absent_classes)
    for value in scores.to_dict().values():
        if isinstance(value, float):
            assert math.isnan(value)
    assert np.isnan([scores.iou, scores.precision, scores.recall, scores.f1]).all()
    assert scores.true_positive.tolist() == [0, 0, 0]


def test_absent_classes():
    matrix = np.array([[6, 2, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])
    excluded = compute_scores(matrix, class_weights=[1, 3, 50])
    assert excluded.miou == (0.75 + 0.5) / 2
    assert excluded.weighted_miou == (0.75 + 1.5) / 4
    zero = compute_scores(matrix, absent_classes="zero", class_weights=[1, 3, 6])
    assert zero.miou == (0.75 + 0.5) / 3
    assert zero.weighted_miou == (0.75 + 1.5) / 10
    assert math.isnan(zero.iou[2])
    assert excluded.mean_accuracy == (0.75 + 1) / 2


def test_class_that_is_only_predicted_is_present():
    scores = compute_scores(np.array([[3, 1, 0], [0, 0, 0]]))
    assert scores.iou.tolist() == [0.75, 0]
    assert scores.miou == 0.375
    assert math.isnan(scores.recall[1])
    assert scores.mean_accuracy == 0.75


def test_single_class():
    scores = compute_scores(np.array([[4, 0]]))
    assert (scores.miou, scores.pixel_accuracy, scores.frequency_weighted_iou) == (1, 1, 1)


def test_all_weight_on_absent_classes():
    matrix = np.array([[4, 0, 0], [0, 0, 0]])
    assert math.isnan(compute_scores(matrix, class_weights=[0, 1]).weighted_miou)
    assert compute_scores(matrix, class_weights=[0, 1]).miou == 1


def test_counts_past_the_exact_range_of_floats():
    one = 2**53 + 1  # float64 has no such integer
    scores = compute_scores(np.array([[one, 1, 0], [0, one, 2]]))
    assert scores.true_positive.tolist() == [one, one]
    assert scores.false_negative.tolist() == [1, 2]
    assert scores.false_positive.tolist() == [0, 1]
    assert scores.miou == pytest.approx(1, abs=1e-15)


def test_sums_over_classes_do_not_wrap():
    matrix = np.zeros((4, 5), np.int64)
    np.fill_diagonal(matrix, 2**62)
    scores = compute_scores(matrix)
    assert (scores.miou, scores.pixel_accuracy) == (1, 1)
    assert scores.frequency_weighted_iou == pytest.approx(1)
    assert (scores.f1 == 1).all()


def test_to_dict_is_plain():
    matrix = np.array([[6, 2, 0], [0, 2, 1]])
    found = json.loads(json.dumps(compute_scores(matrix).to_dict(["road", "sky"])))
    assert list(found) == [
        "miou",
        "weighted_miou",
        "frequency_weighted_iou",
        "pixel_accuracy",
        "mean_accuracy",
        "classes",
    ]
    assert found["classes"][1] == {
        "id": 1,
        "name": "sky",
        "iou": 0.4,
        "precision": 0.5,
        "recall": 2 / 3,
        "f1": 4 / 7,
        "true_positive": 2,
        "false_positive": 2,
        "false_negative": 1,
    }
    assert compute_scores(matrix).to_dict()["classes"][0]["name"] == "0"
    with pytest.raises(ValueError, match="class_names must hold 2 names, but got 1"):
        compute_scores(matrix).to_dict(["road"])


@pytest.mark.parametrize(
    ("matrix", "options", "words"),
    [
        (np.zeros((2, 2), np.int64), {}, r"matrix must have shape \(n, n \+ 1\), but got \(2, 2\)"),
        (np.zeros((0, 1), np.int64), {}, r"but got \(0, 1\)"),
        (np.zeros(6, np.int64), {}, r"but got \(6,\)"),
        (np.zeros((2, 3)), {}, r"matrix must be int64, but got float64"),
        (np.zeros((2, 3), np.int64), {"class_weights": [1]}, r"class_weights must hold 2 numbers"),
        (np.zeros((2, 3), np.int64), {"class_weights": [1, -1]}, r"finite and not negative"),
        (np.zeros((2, 3), np.int64), {"class_weights": [1, math.nan]}, r"finite"),
        (
            np.zeros((2, 3), np.int64),
            {"absent_classes": "drop"},
            r"exclude or zero, but got 'drop'",
        ),
    ],
)
def test_arguments_are_checked(matrix, options, words):
    with pytest.raises(ValueError, match=words):
        compute_scores(matrix, **options)


def test_frequency_weighting_is_by_ground_truth():
    for counts in itertools.product([0, 1, 5], repeat=6):
        matrix = np.array(counts).reshape(2, 3)
        rows = matrix.sum(axis=1)
        scores = compute_scores(matrix)
        if rows.sum():
            expected = np.nansum(rows / rows.sum() * np.nan_to_num(scores.iou))
            assert scores.frequency_weighted_iou == pytest.approx(expected)


@settings(deadline=None, derandomize=True)
@given(st.lists(matrices, min_size=1, max_size=4))
def test_class_counts_are_intersection_and_union(found):
    for matrix in found:
        intersection, union = class_counts(np.stack([matrix, matrix]))[1].tolist()
        rows, n = matrix.tolist(), len(matrix)
        assert intersection == [rows[c][c] for c in range(n)]
        assert union == [sum(rows[c]) + sum(r[c] for r in rows) - rows[c][c] for c in range(n)]


@settings(deadline=None, derandomize=True)
@given(st.lists(matrices, min_size=1, max_size=4))
def test_frame_miou_is_the_mean_over_the_classes_in_the_ground_truth(found):
    for matrix in found:
        rows, n = matrix.tolist(), len(matrix)
        iou = [
            rows[c][c] / (sum(rows[c]) + sum(r[c] for r in rows) - rows[c][c])
            for c in range(n)
            if any(rows[c])
        ]
        expected = sum(iou) / len(iou) if iou else math.nan
        assert frame_miou(matrix) == pytest.approx(expected, abs=1e-12, nan_ok=True)
        # To the last bit: which frames are the worst must not depend on how many come at once.
        many = frame_mious(class_counts(matrix[np.newaxis]), matrix[np.newaxis].any(axis=-1))
        np.testing.assert_array_equal(many, [frame_miou(matrix)])
