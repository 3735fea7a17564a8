"""Turns coarse logits into label maps on the CPU, or into counts and confidences where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from deeplab_miou.model.logits.confidences import confidences
from deeplab_miou.model.logits.counting import add_counts, cells
from deeplab_miou.model.logits.interpolation import make_interpolation
from deeplab_miou.model.logits.upsampling import label_map, make_axis
from deeplab_miou.model.network.deeplab import LOGIT_STRIDE, resize_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.checkpoints.program_outputs import OutputKind
    from deeplab_miou.model.logits.counting import Method
    from deeplab_miou.model.network.architecture import Architecture

    Size = tuple[int, int]

_INVALID = 255


def to_labels(
    logits: Tensor, image_size: Size, size: Size, architecture: Architecture | None
) -> NDArray[np.uint8]:
    """Return the class of the largest resampled logit of each pixel, the first of equals.

    Args:
        logits: ``(n, h, w)`` float32, on the CPU; or ``(1, h, w)`` integers, labels already, which
            are resampled to the nearest.
        image_size: (H, W) that the network saw.
        size: (height, width) of the label map.
        architecture: the network's; None for a program, whose logits cover the image.

    Returns:
        ``(height, width)`` uint8.
    """
    if not logits.is_floating_point():
        return _nearest(logits[0].numpy(), size)
    cropped = _is_cropped(architecture)
    if architecture is not None and cropped and size != image_size:
        full = resize_logits(logits[None], image_size, size, architecture)
        labels: NDArray[np.uint8] = full.argmax(1)[0].to(torch.uint8).numpy()
        return labels
    align = _aligns_corners(architecture)
    axes = []
    for inputs, outputs in zip(logits.shape[1:], size, strict=True):
        stretched = LOGIT_STRIDE * inputs if cropped else outputs
        axes.append(make_axis(inputs, stretched, align_corners=align, kept=outputs))
    return label_map(logits.permute(1, 2, 0).contiguous().numpy(), *axes)


def to_tables(
    logits: Tensor,
    image_size: Size,
    ground_truths: Tensor,
    architecture: Architecture | None,
    *,
    num_classes: int,
    ignore_index: int,
    method: Method,
    labels: Tensor | None = None,
) -> Tensor:
    """Count the labels that `to_labels` gives against ground truth, without waiting for a device.

    Args:
        logits: ``(N, channels, h, w)``, any float type, on any device.
        image_size: (H, W) that the network saw.
        ground_truths: ``(N, height, width)`` uint8 train ids on the device.
        architecture: the network's; None for a program.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
        method: from `deeplab_miou.model.logits.counting.pick_method`.
        labels: ``(N, height, width)`` uint8 on the device, to write the labels to; None for not.

    Returns:
        ``(N, cells(n))`` int64 on the device, see `deeplab_miou.model.logits.counting.to_matrix`.
    """
    size = (ground_truths.shape[1], ground_truths.shape[2])
    logits, stretched_size = _in_one_step(logits, image_size, size, architecture)
    tables = torch.zeros(len(logits), cells(num_classes), dtype=torch.int64, device=logits.device)
    add_counts(
        logits,
        ground_truths,
        tables,
        num_classes=num_classes,
        ignore_index=ignore_index,
        align_corners=_aligns_corners(architecture),
        stretched_size=stretched_size,
        labels=labels,
        method=method,
    )
    return tables


def to_confidences(
    logits: Tensor,
    image_size: Size,
    labels: Tensor,
    architecture: Architecture | None,
    kind: OutputKind,
) -> Tensor:
    """Return the probabilities of the labels that `to_labels` gives, without waiting for a device.

    Args:
        logits: ``(N, channels, h, w)``, any float type, on any device.
        image_size: (H, W) that the network saw.
        labels: ``(N, height, width)`` uint8 on the device.
        architecture: the network's; None for a program.
        kind: what the network puts out, see `deeplab_miou.model.logits.confidences`.

    Returns:
        ``(N, height, width)`` uint8, the probability times 255, rounded.
    """
    size = (labels.shape[1], labels.shape[2])
    logits, stretched_size = _in_one_step(logits, image_size, size, architecture)
    interpolation = make_interpolation(
        (logits.shape[2], logits.shape[3]),
        size,
        logits.device,
        align_corners=_aligns_corners(architecture),
        stretched_size=stretched_size,
    )
    return confidences(logits, labels, interpolation, kind)


def _in_one_step(
    logits: Tensor, image_size: Size, size: Size, architecture: Architecture | None
) -> tuple[Tensor, Size | None]:
    """Return logits that one resampling brings to a size, and what that stretches them to."""
    if architecture is None or not _is_cropped(architecture):
        return logits, None
    if size == image_size:
        return logits, (LOGIT_STRIDE * logits.shape[2], LOGIT_STRIDE * logits.shape[3])
    # Cut to the image first, then stretched: two steps, which no single resampling does.
    return resize_logits(logits.float(), image_size, size, architecture), None


def _nearest(labels: NDArray[Any], size: Size) -> NDArray[np.uint8]:
    """Return labels of another size; ids that are none in uint8 become 255."""
    ids = np.where((labels < 0) | (labels > _INVALID), _INVALID, labels).astype(np.uint8)
    if ids.shape == size:
        return ids
    resized = cv2.resize(ids, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.view(np.uint8)


def _aligns_corners(architecture: Architecture | None) -> bool:
    return architecture is not None and architecture.align_corners


def _is_cropped(architecture: Architecture | None) -> bool:
    return architecture is not None and architecture.resize == "crop"
