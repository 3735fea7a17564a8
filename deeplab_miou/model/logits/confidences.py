"""How sure a network is of the labels that it gives: the probability of each pixel's class.

Probabilities are taken after resampling, as the labels are: the softmax of the bilinearly resampled
logits. What is probabilities already is resampled as it is, since the softmax of a probability
would be none. All that is of image size and has a value for each class is made in bands of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from deeplab_miou.model.logits.interpolation import in_bands

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.checkpoints.program_outputs import OutputKind
    from deeplab_miou.model.logits.interpolation import Interpolation

# Interpolated values at a time.
_BAND = 1 << 20
# In place of minus infinity, of which a share of zero would be no number.
_LOWEST = -1e30
_CERTAIN = 255


def confidences(
    logits: Tensor, labels: Tensor, interpolation: Interpolation, kind: OutputKind
) -> Tensor:
    """Return the probability of each label, without waiting for a device.

    Args:
        logits: coarse logits, or probabilities, ``(N, channels, h, w)``, any float type; of
            networks of one channel as `deeplab_miou.model.inference.host_scorer.run` returns them.
        labels: ``(N, H, W)`` uint8 on the same device, each below the number of channels.
        interpolation: from ``(h, w)`` to ``(H, W)``.
        kind: what the network puts out, but no ``label map``.

    Returns:
        ``(N, H, W)`` uint8, the probability times 255, rounded.
    """
    found = torch.empty_like(labels)
    for image, coarse in enumerate(logits):
        bounded = coarse.float().clamp(min=_LOWEST)
        for rows, values in in_bands(bounded, interpolation, _BAND):
            chosen = values.gather(0, labels[image, rows][None].long())[0]
            probability = _probability(values, chosen, kind)
            found[image, rows] = (_CERTAIN * probability).round_().clamp_(0, _CERTAIN)
    return found


def _probability(values: Tensor, chosen: Tensor, kind: OutputKind) -> Tensor:
    """Return the probability ``(rows, W)`` of what was chosen of ``(channels, rows, W)`` values."""
    if kind == "probabilities":
        return chosen
    if kind == "one probability":
        # The first of the two is 0, the second exceeds 0.5 by its value.
        return 0.5 + 2 * chosen - values.sum(0)
    return (chosen - values.logsumexp(0)).exp()
