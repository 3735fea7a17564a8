"""Scores of a confusion matrix: IoU and its means, accuracies, precision, recall and F1.

Counts stay int64 until the last division; a score whose denominator is zero is NaN, silently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

AbsentClasses = Literal["exclude", "zero"]

# The scores of all classes together: their names in `Scores`, messages and files, and in words.
HEADLINES = {
    "miou": "mIoU",
    "weighted_miou": "weighted mIoU",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
}


@dataclass(frozen=True, eq=False)
class Scores:
    """Everything that is read from one confusion matrix.

    A class is present where its union (ground truth or prediction) has a pixel; NaN stands for
    what is undefined: scores of absent classes, and all of them while nothing has been counted.

    Attributes:
        miou: mean of IoU over the present classes, or over all with absent ones as zero.
        weighted_miou: sum of w_c IoU_c over sum of w_c, over the same classes as ``miou``.
        frequency_weighted_iou: mean of IoU weighted by the ground truth pixels of each class.
        pixel_accuracy: correct pixels over labelled pixels.
        mean_accuracy: mean of recall over the classes that occur in the ground truth.
        iou: (n,) float64, TP / (TP + FP + FN).
        precision: (n,) float64, TP / (TP + FP).
        recall: (n,) float64, TP / (TP + FN); the accuracy of a class.
        f1: (n,) float64, 2 TP / (2 TP + FP + FN); the Dice coefficient.
        true_positive: (n,) int64 pixels.
        false_positive: (n,) int64 pixels of another class that were predicted as this one.
        false_negative: (n,) int64 pixels of this class that were predicted otherwise or invalidly.
    """

    miou: float
    weighted_miou: float
    frequency_weighted_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    iou: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]
    false_negative: NDArray[np.int64]

    @classmethod
    def none(cls) -> Scores:
        """Return the scores where not even the classes are known: undefined, and of no class."""
        nan, share, pixels = math.nan, np.empty(0), np.empty(0, np.int64)
        return cls(nan, nan, nan, nan, nan, share, share, share, share, pixels, pixels, pixels)

    def to_dict(self, class_names: Sequence[str] | None = None) -> dict[str, object]:
        """Return the scores as plain types; NaN stays NaN.

        Args:
            class_names: n names; each class's id in words by default.

        Returns:
            The headline scores by name, and ``classes``: one dictionary a class in id order.

        Raises:
            ValueError: there are not as many names as classes.
        """
        n = len(self.iou)
        names = [str(i) for i in range(n)] if class_names is None else list(class_names)
        if len(names) != n:
            raise ValueError(f"class_names must hold {n} names, but got {len(names)}")
        return {
            **{name: getattr(self, name) for name in HEADLINES},
            "classes": [
                {
                    "id": i,
                    "name": names[i],
                    "iou": float(self.iou[i]),
                    "precision": float(self.precision[i]),
                    "recall": float(self.recall[i]),
                    "f1": float(self.f1[i]),
                    "true_positive": int(self.true_positive[i]),
                    "false_positive": int(self.false_positive[i]),
                    "false_negative": int(self.false_negative[i]),
                }
                for i in range(n)
            ],
        }


def compute_scores(
    matrix: NDArray[np.int64],
    *,
    absent_classes: AbsentClasses = "exclude",
    class_weights: ArrayLike | None = None,
) -> Scores:
    """Compute all scores of a confusion matrix.

    IoU and its mean are those of the Cityscapes benchmark (Cordts et al., CVPR 2016); the
    frequency-weighted IoU and the accuracies are those of Long et al., CVPR 2015.

    Args:
        matrix: (n, n + 1) int64 counts, rows ground truth, last column invalid predictions.
        absent_classes: ``exclude`` leaves classes without a pixel in either map out of the means
            over IoU, ``zero`` counts them as IoU 0 (their own IoU stays NaN).
        class_weights: (n,) weights of ``weighted_miou``, not negative; all one by default.

    Returns:
        The scores.

    Raises:
        ValueError: the matrix has another shape or type, the weights do not fit it, or
            ``absent_classes`` is unknown.
    """
    if matrix.ndim != 2 or matrix.shape[1] != matrix.shape[0] + 1 or not matrix.shape[0]:  # noqa: PLR2004
        raise ValueError(f"matrix must have shape (n, n + 1), but got {matrix.shape}")
    if matrix.dtype != np.int64:
        raise ValueError(f"matrix must be int64, but got {matrix.dtype}")
    n = matrix.shape[0]
    weights = check_weights(class_weights, n)
    check_absent_classes(absent_classes)
    true_positive, union = class_counts(matrix)
    labelled = matrix.sum(axis=1)
    false_positive = union - labelled
    false_negative = labelled - true_positive
    iou = divide(true_positive, union)
    recall = divide(true_positive, labelled)
    # Python integers: the sum over classes must not wrap even where a single class nearly does.
    total = sum(map(int, labelled))
    present = labelled > 0
    return Scores(
        miou=float(mean_iou(iou, np.ones(n), absent_classes)),
        weighted_miou=float(mean_iou(iou, weights, absent_classes)),
        frequency_weighted_iou=(
            math.fsum((labelled[present] / total) * iou[present]) if total else math.nan
        ),
        pixel_accuracy=sum(map(int, true_positive)) / total if total else math.nan,
        mean_accuracy=float(recall[present].mean()) if total else math.nan,
        iou=iou,
        precision=divide(true_positive, true_positive + false_positive),
        recall=recall,
        f1=divide(2.0 * true_positive, true_positive.astype(np.float64) + union),
        true_positive=true_positive,
        false_positive=false_positive,
        false_negative=false_negative,
    )


def cohens_kappa(matrix: NDArray[np.int64]) -> float:
    """Return Cohen's kappa: agreement beyond chance, 1 at most, 0 where it is chance.

    An invalid prediction agrees with nothing (Cohen, Educational and Psychological Measurement
    1960).

    Args:
        matrix: (n, n + 1) int64 counts.

    Returns:
        NaN without a pixel, and where one class alone occurs in ground truth and prediction.
    """
    shares = matrix / max(int(matrix.sum()), 1)
    observed = float(shares.trace())
    expected = float((shares.sum(axis=1) * shares[:, :-1].sum(axis=0)).sum())
    if not matrix.any() or expected == 1:
        return math.nan
    return (observed - expected) / (1 - expected)


def check_weights(class_weights: ArrayLike | None, num_classes: int) -> NDArray[np.float64]:
    """Return (n,) float64 weights, all one for None; scaled so that no sum of them overflows.

    Only their proportions count, and a power of two leaves these as they are.

    Raises:
        ValueError: the number of weights is not n, or one is negative or not finite.
    """
    if class_weights is None:
        return np.ones(num_classes)
    weights = np.asarray(class_weights, np.float64)
    if weights.shape != (num_classes,):
        raise ValueError(
            f"class_weights must hold {num_classes} numbers, but got shape {weights.shape}"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"class_weights must be finite and not negative, but got {weights}")
    _, exponent = math.frexp(weights.max(initial=0.0))
    return np.ldexp(weights, -exponent)


def check_absent_classes(absent_classes: str) -> None:
    """Raise ValueError for anything but ``exclude`` and ``zero``."""
    if absent_classes not in ("exclude", "zero"):
        raise ValueError(f"absent_classes must be exclude or zero, but got {absent_classes!r}")


def class_counts(matrices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what the IoU of each class is the quotient of.

    Args:
        matrices: (..., n, n + 1) int64 confusion matrices.

    Returns:
        (..., 2, n) int64, intersection and union: ``C[c, c]`` and row and column less it.
    """
    intersection = np.diagonal(matrices, axis1=-2, axis2=-1)
    union = matrices.sum(axis=-1) + matrices[..., :-1].sum(axis=-2) - intersection
    return np.stack((intersection, union), axis=-2)


def frame_mious(overlaps: NDArray[np.int64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each frame's mean IoU over the classes in its ground truth; NaN if there is none.

    Classes that are only predicted are left out: a handful of stray pixels would rank a good frame
    among the worst.

    Args:
        overlaps: (..., 2, n) int64 intersection and union.
        present: (..., n) whether the ground truth has pixels of a class.

    Returns:
        (...) float64.
    """
    intersection, union = overlaps[..., 0, :], overlaps[..., 1, :]
    # Where the ground truth has nothing of a class, the intersection is empty and adds nothing.
    iou = intersection / np.maximum(union, 1)
    return divide(iou.sum(axis=-1), present.sum(axis=-1))


def frame_miou(matrix: NDArray[np.int64]) -> float:
    """Return what `frame_mious` has for one frame, in a third of the time.

    Args:
        matrix: (n, n + 1) int64, its counts.
    """
    labelled = matrix.sum(axis=1)
    intersection = matrix.diagonal()
    union = labelled + matrix.sum(axis=0)[:-1] - intersection
    iou = intersection / np.maximum(union, 1)
    classes = np.count_nonzero(labelled)
    return float(iou.sum()) / classes if classes else math.nan


def divide(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """Return the float64 quotient, NaN where the denominator is zero."""
    bottom = np.asarray(denominator, np.float64)
    out = np.full(np.broadcast(numerator, bottom).shape, np.nan)
    np.divide(numerator, bottom, out=out, where=bottom != 0)
    return out


def mean_iou(
    iou: NDArray[np.float64], weights: NDArray[np.float64], absent_classes: AbsentClasses
) -> NDArray[np.float64]:
    """Return the weighted mean of IoU over the last axis; NaN marks absent classes.

    With every class absent, or all weight on absent ones, the mean is NaN.

    Args:
        iou: (..., n) float64.
        weights: (n,) float64.
        absent_classes: ``exclude`` or ``zero``.

    Returns:
        (...) float64.
    """
    present = ~np.isnan(iou)
    # Not `@`: the threads of its library spin for a tenth of a second after each large product.
    total = np.einsum("...c,c->...", np.where(present, iou, 0.0), weights)
    if absent_classes == "exclude":
        return divide(total, np.einsum("...c,c->...", present, weights))
    return divide(total, np.where(present.any(axis=-1), weights.sum(), 0.0))
