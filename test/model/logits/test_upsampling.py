from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.model.logits.upsampling import label_map, make_axis


def labels_of(logits, size, *, align_corners):
    axes = [
        make_axis(n, m, align_corners=align_corners)
        for n, m in zip(logits.shape[1:], size, strict=True)
    ]
    return label_map(logits.permute(1, 2, 0).contiguous().numpy(), *axes)


def reference(logits, size, *, align_corners):
    """Return PyTorch's labels and by how much the best class leads."""
    full = torch.nn.functional.interpolate(
        logits[None], size=size, mode="bilinear", align_corners=align_corners
    )[0]
    best = full.topk(2, dim=0).values
    return full.argmax(0).numpy(), (best[0] - best[1]).numpy()


def scene(classes, height, width, cell, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, classes, height // cell + 2, width // cell + 2, generator=generator)
    if cell == 1:
        return coarse[0, :, :height, :width].contiguous()
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((33, 47), (132, 188)),
        ((33, 47), (131, 185)),
        ((33, 47), (33, 47)),
        ((33, 47), (20, 19)),
        ((33, 47), (400, 30)),
        ((1, 1), (9, 7)),
        ((2, 1), (1, 9)),
    ],
)
@pytest.mark.parametrize("cell", [1, 8], ids=["noise", "scene"])
def test_labels_are_those_of_the_full_tensor(shape, size, align_corners, cell):
    logits = scene(19, *shape, cell)
    labels = labels_of(logits, size, align_corners=align_corners)
    expected, lead = reference(logits, size, align_corners=align_corners)
    assert labels.dtype == np.uint8
    assert labels.shape == size
    assert np.all(lead[labels != expected] < 1e-6), "labels differ beyond rounding"
    assert (labels != expected).sum() <= 1


@pytest.mark.parametrize("classes", [1, 2, 150, 255])
def test_any_number_of_classes(classes):
    logits = scene(classes, 12, 17, 4)
    if classes == 1:
        assert not labels_of(logits, (48, 68), align_corners=False).any()
        return
    expected, _ = reference(logits, (48, 68), align_corners=False)
    assert np.array_equal(labels_of(logits, (48, 68), align_corners=False), expected)


def test_class_that_wins_only_between_the_corners_is_found():
    # Best at no corner: two corners each belong to another class, the middle to the third.
    logits = torch.tensor([[[1.0, -9.0]], [[-9.0, 1.0]], [[0.9, 0.9]]])
    labels = labels_of(logits, (1, 9), align_corners=True)
    assert labels.tolist() == [[0, 2, 2, 2, 2, 2, 2, 2, 1]]


def test_first_of_equals_wins():
    logits = torch.zeros(4, 3, 3)
    logits[2:] = 1
    assert (labels_of(logits, (12, 12), align_corners=False) == 2).all()


@pytest.mark.parametrize("align_corners", [False, True])
def test_kept_pixels_are_the_first_ones(align_corners):
    whole = make_axis(5, 20, align_corners=align_corners)
    part = make_axis(5, 20, align_corners=align_corners, kept=13)
    assert np.array_equal(part.weights, whole.weights[:13])
    assert part.starts[-1] == 13
    assert np.array_equal(part.starts, np.minimum(whole.starts, 13))
