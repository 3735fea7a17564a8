"""The networks that `gpu.py` measures, and the labels that they give in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from gpu_checks import CLASSES
from network import randomize
from torch.nn import functional as F  # noqa: N812

from deeplab_miou.model.checkpoints.load import Preprocessing
from deeplab_miou.model.inference.backends import PlainBackend
from deeplab_miou.model.inference.normalise import Normalizer
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build

if TYPE_CHECKING:
    from gpu_checks import Ids
    from torch import Tensor

    from deeplab_miou.model.network.deeplab import DeepLabV3Plus

# Pixels of the image that the last layer is made for.
_SAMPLE = (256, 512)
# How far apart neighbouring classes are, in standard deviations of the strongest feature.
_SPREAD = 1.5
_FEATURES = 2


def make_network(backbone: str, image: Ids) -> DeepLabV3Plus:
    """Return one of the networks that users have, with random weights.

    Random classes lie so close that half precision changes 0.1 to 0.3 % of the labels (rounding
    emulated in float32), and no other precision than float32 would be taken. The last layer
    therefore tells them apart by the strongest features, the principal components of what it sees
    of an image, and prefers some: 0.06 % or less.
    """
    network = build(Architecture(num_classes=CLASSES, backbone=backbone))  # type: ignore[arg-type]
    randomize(network)
    classify = network.decoder.classify
    assert classify.bias is not None
    seen: list[Tensor] = []
    handle = classify.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        coarse_logits(network, image[: _SAMPLE[0], : _SAMPLE[1]], torch.device("cpu"))
    handle.remove()
    features = seen[0][0].flatten(1).double()
    mean = features.mean(1)
    variances, components = torch.linalg.eigh(torch.cov(features))
    generator = torch.Generator().manual_seed(3)
    mixing = F.normalize(torch.randn(CLASSES, _FEATURES, generator=generator).double(), dim=1)
    weight = mixing @ (components[:, -_FEATURES:] / variances[-1].sqrt()).T
    bias = -(weight @ mean) - _SPREAD * torch.arange(CLASSES)
    with torch.no_grad():
        classify.weight.copy_(weight[:, :, None, None])
        classify.bias.copy_(bias)
    return network


def coarse_logits(network: DeepLabV3Plus, image: Ids, device: torch.device) -> Tensor:
    """Return what the plain network computes in float32 of one image."""
    pixels = torch.from_numpy(image)[None].to(device)
    return PlainBackend(network, device).coarse_logits(Normalizer(Preprocessing(), device)(pixels))


def float32_labels(network: DeepLabV3Plus, image: Ids, device: torch.device) -> Ids:
    """Return the label map of an image; TF32 is off for it."""
    torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        coarse = coarse_logits(network, image, device)
        full = F.interpolate(coarse, size=image.shape[:2], mode="bilinear")
        labels: Ids = full.argmax(1)[0].to(torch.uint8).cpu().numpy()
    assert len(np.unique(labels)) > 1, "one class everywhere: nothing is compared"
    return labels
