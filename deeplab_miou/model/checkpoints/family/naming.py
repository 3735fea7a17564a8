"""How several families name the weights of our layers.

A layout maps the name of a convolution or norm of `DeepLabV3Plus` to the name that the same layer
has in a family's files, both without the trailing ``.weight``, ``.bias`` and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.model.network.mobile_shapes import mobile_shape
from deeplab_miou.model.network.resnet import RESNET_BLOCKS
from deeplab_miou.model.network.xception import XCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deeplab_miou.model.network.architecture import Architecture

Layout = dict[str, str]


def pair(ours: str, conv: str, norm: str) -> Layout:
    """Map a block to a convolution and its norm (`norm` replaces the last part)."""
    return {f"{ours}.conv": conv, f"{ours}.norm": conv.rpartition(".")[0] + norm}


def module(ours: str, theirs: str) -> Layout:
    """Map a block to a module of the convolution ``conv`` and the norm ``bn``."""
    return {f"{ours}.conv": f"{theirs}.conv", f"{ours}.norm": f"{theirs}.bn"}


def normed(ours: str, theirs: str) -> Layout:
    """Map a block to a convolution that holds its norm."""
    return {f"{ours}.conv": theirs, f"{ours}.norm": f"{theirs}.norm"}


def separable(ours: str, depthwise: str, pointwise: str, norm: str) -> Layout:
    """Map a separable convolution without a norm of its own after the first part."""
    return {
        f"{ours}.depthwise.conv": depthwise,
        f"{ours}.pointwise.conv": pointwise,
        f"{ours}.pointwise.norm": norm,
    }


def head_convolution(kind: str, ours: str, theirs: str, body: str) -> Layout:
    """Map a convolution that is ``theirs.0``, its norm ``theirs.1``."""
    if kind == "dense":
        return pair(ours, f"{theirs}.0", ".1")
    return separable(ours, f"{theirs}.0{body}.0", f"{theirs}.0{body}.1", f"{theirs}.1")


def sequential_aspp(architecture: Architecture, theirs: str, body: str) -> Layout:
    """Map the ASPP of torchvision's descendants, made of numbered sequences."""
    layout = pair("aspp.branches.0", f"{theirs}.convs.0.0", ".1")
    for index in range(1, 4):
        layout |= head_convolution(
            architecture.aspp_convolution, f"aspp.branches.{index}", f"{theirs}.convs.{index}", body
        )
    layout |= pair("aspp.pooling.mix", f"{theirs}.convs.4.1", ".2")
    return layout | pair("aspp.project", f"{theirs}.project.0", ".1")


def sequential_head(architecture: Architecture, theirs: str) -> Layout:
    """Map the head of a DeepLabv3, one sequence: ASPP, convolution, norm, ReLU, classifier."""
    layout = sequential_aspp(architecture, f"{theirs}.0", body="")
    layout |= pair("decoder.convolutions.0", f"{theirs}.1", ".2")
    return layout | {"decoder.classify": f"{theirs}.4"}


def resnet_blocks(
    architecture: Architecture, stage_name: Callable[[int], str]
) -> Iterator[tuple[str, str, int]]:
    """Yield our block, their block and its number of convolutions."""
    counts, bottleneck = RESNET_BLOCKS[architecture.backbone]
    for stage, count in enumerate(counts):
        for block in range(count):
            ours = f"backbone.stages.{stage}.{block}"
            yield ours, f"{stage_name(stage)}.{block}", 3 if bottleneck else 2


def resnet(architecture: Architecture, theirs: str, stem: str = "", squeeze: str = "se") -> Layout:
    """Map a ResNet named as in torchvision, which all but Detectron2 do.

    Args:
        architecture: which blocks it consists of.
        theirs: name of the encoder.
        stem: name of what holds its first convolution; empty for the encoder itself.
        squeeze: name of the squeeze and excitation of a block.
    """
    layout = pair("backbone.stem.0", ".".join(filter(None, (theirs, stem, "conv1"))), ".bn1")
    for ours, block, parts in resnet_blocks(architecture, lambda n: f"{theirs}.layer{n + 1}"):
        for part in range(1, parts + 1):
            layout |= pair(f"{ours}.conv{part}", f"{block}.conv{part}", f".bn{part}")
        layout |= pair(f"{ours}.shortcut", f"{block}.downsample.0", ".1")
        layout |= excitation(ours, f"{block}.{squeeze}.fc1", f"{block}.{squeeze}.fc2")
    return layout


def excitation(ours: str, reduce: str, expand: str) -> Layout:
    """Map a block's squeeze and excitation."""
    return {f"{ours}.squeeze.reduce.conv": reduce, f"{ours}.squeeze.expand.conv": expand}


class MobileBlock(NamedTuple):
    """An inverted residual of ours: its name, stage and place there, and what parts it has."""

    name: str
    stage: int
    number: int
    expands: bool
    squeezes: bool


def mobile_blocks(architecture: Architecture) -> Iterator[MobileBlock]:
    """Yield the inverted residuals of an encoder."""
    shape = mobile_shape(architecture)
    channels = shape.stem
    for stage, (_, blocks) in enumerate(shape.stages):
        for number, block in enumerate(blocks):
            name = f"backbone.stages.{stage}.{number}"
            expands = block.inner != channels
            yield MobileBlock(name, stage, number, expands, block.squeezed > 0)
            channels = block.out


def mobilenet(
    architecture: Architecture,
    block: Callable[[str, str, bool], Layout],
    name: Callable[[int], str],
) -> Layout:
    """Map the blocks of a MobileNet, numbered from 1 in the files."""
    layout: Layout = {}
    for index, ours in enumerate(mobile_blocks(architecture), start=1):
        layout |= block(ours.name, name(index), ours.expands)
    return layout


def xception(kind: str) -> Layout:
    """Map an Xception whose blocks are sequences that begin with a ReLU or leave it out."""
    shape = XCEPTIONS[kind](16)
    layout: Layout = {}
    for index in range(2):
        layout |= pair(f"backbone.stem.{index}", f"backbone.conv{index + 1}", f".bn{index + 1}")
    for number, stage in enumerate(shape.stages, start=1):
        ours, theirs = f"backbone.stages.{number - 1}", f"backbone.block{number}"
        layout |= pair(f"{ours}.shortcut", f"{theirs}.skip", ".skipbn")
        first = 0 if stage.activation == "none" else 1
        for index in range(len(stage.convolutions)):
            place = first + 3 * index
            layout |= _xception_separable(
                f"{ours}.convolutions.{index}", f"{theirs}.rep.{place}", f"{theirs}.rep.{place + 1}"
            )
    for index in range(len(shape.exit)):
        number = index + 3
        layout |= _xception_separable(
            f"backbone.exit.{index}", f"backbone.conv{number}", f"backbone.bn{number}"
        )
    return layout


def _xception_separable(ours: str, theirs: str, norm: str) -> Layout:
    return {
        f"{ours}.depthwise.conv": f"{theirs}.conv1",
        f"{ours}.depthwise.norm": f"{theirs}.bn",
        f"{ours}.pointwise.conv": f"{theirs}.pointwise",
        f"{ours}.pointwise.norm": norm,
    }


def nested_block(ours: str, theirs: str, expands: bool) -> Layout:  # noqa: FBT001
    """Map torchvision's block: a sequence of conv-norm-activation sequences."""
    layout = pair(f"{ours}.expand", f"{theirs}.conv.0.0", ".1") if expands else {}
    first = 1 if expands else 0
    layout |= pair(f"{ours}.filter", f"{theirs}.conv.{first}.0", ".1")
    return layout | pair(f"{ours}.project", f"{theirs}.conv.{first + 1}", f".{first + 2}")


def flat_block(ours: str, theirs: str, expands: bool) -> Layout:  # noqa: FBT001
    """Map a block that is one flat sequence of convolutions, norms and activations."""
    layout: Layout = {}
    for index, part in enumerate(block_parts(expands=expands)):
        layout |= pair(f"{ours}.{part}", f"{theirs}.conv.{3 * index}", f".{3 * index + 1}")
    return layout


def block_parts(*, expands: bool) -> tuple[str, ...]:
    """Return the convolutions of a MobileNetV2 block."""
    return ("expand", "filter", "project") if expands else ("filter", "project")


def split_feature(index: int) -> str:
    """Return the name of a MobileNetV2 block where the low-level features are apart."""
    return f"backbone.{'low' if index < 4 else 'high'}_level_features.{index}"  # noqa: PLR2004
