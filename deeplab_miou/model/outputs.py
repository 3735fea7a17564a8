"""What becomes of an image's coarse logits: a label map, or counts against a given one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.counting import add_counts, cells, pick_method, to_matrix
from deeplab_miou.model.network import LOGIT_STRIDE, resize_logits
from deeplab_miou.model.upsampling import label_map, make_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.architecture import Architecture

    Size = tuple[int, int]


def to_labels(
    logits: Tensor, image_size: Size, size: Size, options: Architecture | None
) -> NDArray[np.uint8]:
    """Return the class of the largest resampled logit of each pixel, the first of equals.

    Args:
        logits: ``(n, h, w)`` float32, on any device.
        image_size: (H, W) that the network saw.
        size: (height, width) of the label map.
        options: the network's; None for a program, whose logits cover the image.

    Returns:
        ``(height, width)`` uint8.
    """
    cropped = _is_cropped(options)
    if logits.device.type != "cpu" or (cropped and size != image_size):
        full = (
            resize_logits(logits[None], image_size, size, options)
            if options is not None
            else F.interpolate(logits[None], size=size, mode="bilinear")
        )
        labels: NDArray[np.uint8] = full.argmax(1)[0].to(torch.uint8).cpu().numpy()
        return labels
    align = options is not None and options.align_corners
    axes = []
    for inputs, outputs in zip(logits.shape[1:], size, strict=True):
        stretched = LOGIT_STRIDE * inputs if cropped else outputs
        axes.append(make_axis(inputs, stretched, align_corners=align, kept=outputs))
    return label_map(logits.permute(1, 2, 0).contiguous().numpy(), *axes)


def to_table(
    logits: Tensor,
    image_size: Size,
    truth: NDArray[np.uint8],
    options: Architecture | None,
    *,
    num_classes: int,
    ignore_index: int,
) -> Tensor:
    """Count the labels that `to_labels` gives against ground truth, without waiting for a device.

    Args:
        logits: ``(channels, h, w)`` float32, on any device.
        image_size: (H, W) that the network saw.
        truth: ``(height, width)`` uint8 train ids.
        options: the network's; None for a program.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.

    Returns:
        A table of `cells` int64 on the device, for `to_matrices`.
    """
    # Copied: a message's bytes are read-only, which torch does not take.
    ids = torch.from_numpy(truth.copy()).to(logits.device, non_blocking=True)[None]
    coarse = logits[None]
    covered = None
    if options is not None and _is_cropped(options):
        if ids.shape[1:] == image_size:
            covered = (LOGIT_STRIDE * logits.shape[1], LOGIT_STRIDE * logits.shape[2])
        else:
            # Cut to the image first, then stretched: two steps, which no single resampling does.
            size = (ids.shape[1], ids.shape[2])
            coarse = resize_logits(coarse, image_size, size, options)
    table = torch.zeros(1, cells(num_classes), dtype=torch.int64, device=logits.device)
    add_counts(
        coarse,
        ids,
        table,
        num_classes=num_classes,
        ignore_index=ignore_index,
        align_corners=options is not None and options.align_corners,
        covered=covered,
        method=pick_method(logits.device, num_classes),
    )
    return table[0]


def to_matrices(
    tables: Sequence[Tensor], num_classes: int, ignore_index: int
) -> list[NDArray[np.int64]]:
    """Return the confusion matrices ``(n, n + 1)`` of tables; waits for the device, once for all.

    Raises:
        ValueError: ground truth had ids that are neither below n nor the ignore index.
    """
    if not tables:
        return []
    together = torch.stack(list(tables)).cpu().numpy()
    return [to_matrix(table, num_classes, ignore_index) for table in together]


def _is_cropped(options: Architecture | None) -> bool:
    return options is not None and options.resize == "crop"
