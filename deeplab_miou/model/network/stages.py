"""How the strides that an encoder gives up become dilation."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeplab_miou.model.network.architecture import Architecture


class StagePlan(NamedTuple):
    """One stage of an encoder.

    Attributes:
        stride: step of its first block.
        dilation: what all strides given up so far amount to.
        dilations: distance of the taps of each of its blocks.
    """

    stride: int
    dilation: int
    dilations: list[int]


def plan_stages(
    architecture: Architecture, stages: Iterable[tuple[int, int]], current: int
) -> list[StagePlan]:
    """Return the strides and dilations of an encoder's stages.

    Args:
        architecture: whose `output_stride` and `dilation_rule` decide.
        stages: number of blocks and own stride of each stage.
        current: output stride of what goes into the first of them.
    """
    plans: list[StagePlan] = []
    dilation = 1
    for blocks, own in stages:
        before, stride = dilation, own
        if current == architecture.output_stride:
            dilation *= own
            stride = 1
        current *= stride
        dilations = _dilations(architecture, blocks, before, dilation)
        if architecture.dilation_rule == "ahead" and plans and own != 1:
            earlier = plans[-1]
            earlier.dilations[1:] = [dilation] * (len(earlier.dilations) - 1)
        plans.append(StagePlan(stride, dilation, dilations))
    return plans


def _dilations(architecture: Architecture, blocks: int, before: int, after: int) -> list[int]:
    if architecture.dilation_rule == "delayed":
        return [before] * blocks
    if architecture.dilation_rule == "contracted":
        return [before, *[after] * (blocks - 1)]
    if architecture.dilation_rule == "first":
        return [after, *[1] * (blocks - 1)]
    return [after] * blocks
