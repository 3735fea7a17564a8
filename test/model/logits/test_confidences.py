from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.logits import confidences
from deeplab_miou.model.logits.outputs import to_confidences, to_labels
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import resize_logits

IMAGE = (21, 26)
CONVENTIONS = [
    None,
    Architecture(num_classes=5, align_corners=True),
    Architecture(num_classes=5, resize="crop"),
]


def make_logits(channels=5):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(2, channels, 6, 7, generator=generator)


def find(logits, size, architecture, kind):
    """Return labels and confidences of both images."""
    labels = np.stack([to_labels(each, IMAGE, size, architecture) for each in logits])
    found = to_confidences(logits, IMAGE, torch.from_numpy(labels), architecture, kind)
    assert found.dtype == torch.uint8
    return torch.from_numpy(labels).long(), found.float()


@pytest.mark.parametrize("band", [1, 300, 1 << 20])
@pytest.mark.parametrize("architecture", CONVENTIONS, ids=["program", "aligned", "cropped"])
@pytest.mark.parametrize("size", [IMAGE, (21, 40)], ids=["image", "other"])
def test_confidence_is_the_softmax_of_the_resampled_logits(monkeypatch, size, architecture, band):
    monkeypatch.setattr(confidences, "_BAND", band)
    logits = make_logits()
    labels, found = find(logits, size, architecture, "logits")
    whole = (
        F.interpolate(logits, size=size, mode="bilinear")
        if architecture is None
        else resize_logits(logits, IMAGE, size, architecture)
    )
    expected = 255 * whole.softmax(1).gather(1, labels[:, None])[:, 0]
    assert (found - expected).abs().max() < 0.51
    assert found.min() < 100
    assert found.max() > 200


def test_probabilities_are_not_put_through_a_softmax():
    shares = make_logits().softmax(1)
    labels, found = find(shares, IMAGE, None, "probabilities")
    whole = F.interpolate(shares, size=IMAGE, mode="bilinear")
    assert (found - 255 * whole.gather(1, labels[:, None])[:, 0]).abs().max() < 0.51


def test_confidence_of_one_channel_is_that_of_the_class_it_decides_for():
    logit = make_logits(1)
    for kind, channel, probability in (
        ("one logit", logit, F.interpolate(logit, size=IMAGE, mode="bilinear").sigmoid()),
        (
            "one probability",
            logit.sigmoid() - 0.5,
            F.interpolate(logit.sigmoid(), size=IMAGE, mode="bilinear"),
        ),
    ):
        both = torch.cat([torch.zeros_like(channel), channel], 1)
        labels, found = find(both, IMAGE, None, kind)
        second = probability[:, 0]
        expected = 255 * torch.where(labels == 1, second, 1 - second)
        assert (found - expected).abs().max() < 0.51
        assert found.min() >= 127


def test_a_class_that_is_impossible_spoils_no_other():
    logits = make_logits()
    logits[:, 2] = -torch.inf
    _, found = find(logits, IMAGE, None, "logits")
    _, without = find(logits[:, [0, 1, 3, 4]], IMAGE, None, "logits")
    assert torch.equal(found, without)
