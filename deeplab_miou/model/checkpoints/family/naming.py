"""Where each known implementation keeps the weights of each of our layers.

A layout maps the name of a convolution or norm of `DeepLabV3Plus` to the name that the same layer
has in a family's files, both without the trailing ``.weight``, ``.bias`` and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.model.network.backbones import MOBILENET_STAGES, RESNET_BLOCKS
from deeplab_miou.model.network.xception import xception_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deeplab_miou.model.network.architecture import Architecture

Layout = dict[str, str]


def vainf(options: Architecture) -> Layout:
    """Return the layout of VainF/DeepLabV3Plus-Pytorch."""
    if options.backbone == "mobilenet_v2":
        layout = _mobilenet(_nested_block, _split_feature)
        layout |= _pair("backbone.stem", "backbone.low_level_features.0.0", ".1")
    else:
        layout = _resnet(options, "backbone")
    layout |= _sequential_aspp(options, "classifier.aspp", body=".body")
    layout |= _pair("decoder.low", "classifier.project.0", ".1")
    layout |= _head_convolution(
        options.decoder_convolution, "decoder.convolutions.0", "classifier.classifier", ".body"
    )
    return layout | {"decoder.classify": "classifier.classifier.3"}


def smp(options: Architecture) -> Layout:
    """Return the layout of segmentation_models_pytorch."""
    if options.backbone == "mobilenet_v2":
        layout = _mobilenet(_nested_block, lambda index: f"encoder.features.{index}")
        layout |= _pair("backbone.stem", "encoder.features.0.0", ".1")
        layout |= _pair("backbone.head", "encoder.features.18.0", ".1")
    else:
        layout = _resnet(options, "encoder")
    layout |= _sequential_aspp(options, "decoder.aspp.0", body="")
    layout |= _separable("aspp.refine", "decoder.aspp.1.0", "decoder.aspp.1.1", "decoder.aspp.2")
    layout |= _pair("decoder.low", "decoder.block1.0", ".1")
    layout |= _head_convolution("separable", "decoder.convolutions.0", "decoder.block2", "")
    return layout | {"decoder.classify": "segmentation_head.0"}


def mmseg(options: Architecture) -> Layout:
    """Return the layout of mmsegmentation's DepthwiseSeparableASPPHead."""
    head = "decode_head"
    if options.backbone == "mobilenet_v2":
        layout = _module("backbone.stem", "backbone.conv1")
        for stage, (expansion, _, blocks, _) in enumerate(MOBILENET_STAGES):
            parts = _block_parts(expands=expansion != 1)
            for block in range(blocks):
                ours, theirs = f"backbone.stages.{stage}.{block}", f"layer{stage + 1}.{block}"
                for index, part in enumerate(parts):
                    layout |= _module(f"{ours}.{part}", f"backbone.{theirs}.conv.{index}")
    else:
        layout = _resnet(options, "backbone")
        if options.stem == "deep":
            for index in range(3):
                layout |= _pair(
                    f"backbone.stem.{index}", f"backbone.stem.{3 * index}", f".{3 * index + 1}"
                )
    layout |= _module("aspp.pooling.mix", f"{head}.image_pool.1")
    layout |= _module("aspp.branches.0", f"{head}.aspp_modules.0")
    layout |= _module("aspp.project", f"{head}.bottleneck")
    layout |= _module("decoder.low", f"{head}.c1_bottleneck")
    for index in range(1, 4):
        layout |= _separable_module(f"aspp.branches.{index}", f"{head}.aspp_modules.{index}")
    for index in range(options.decoder_layers):
        layout |= _separable_module(
            f"decoder.convolutions.{index}", f"{head}.sep_bottleneck.{index}"
        )
    return layout | {"decoder.classify": f"{head}.conv_seg"}


def jfzhang(options: Architecture) -> Layout:
    """Return the layout of jfzhang95/pytorch-deeplab-xception."""
    if options.backbone == "mobilenet_v2":
        layout = _mobilenet(_flat_block, _split_feature)
        layout |= _pair("backbone.stem", "backbone.low_level_features.0.0", ".1")
    elif options.backbone == "xception65":
        layout = _xception()
    else:
        layout = _resnet(options, "backbone")
    for index in range(4):
        ours, theirs = f"aspp.branches.{index}", f"aspp.aspp{index + 1}"
        layout |= {f"{ours}.conv": f"{theirs}.atrous_conv", f"{ours}.norm": f"{theirs}.bn"}
    layout |= _pair("aspp.pooling.mix", "aspp.global_avg_pool.1", ".2")
    layout |= {"aspp.project.conv": "aspp.conv1", "aspp.project.norm": "aspp.bn1"}
    layout |= {"decoder.low.conv": "decoder.conv1", "decoder.low.norm": "decoder.bn1"}
    layout |= _pair("decoder.convolutions.0", "decoder.last_conv.0", ".1")
    layout |= _pair("decoder.convolutions.1", "decoder.last_conv.4", ".5")
    return layout | {"decoder.classify": "decoder.last_conv.8"}


def detectron2(options: Architecture) -> Layout:
    """Return the layout of Detectron2's DeepLab project."""
    layout: Layout = {}
    for index in range(3):
        layout |= _normed(f"backbone.stem.{index}", f"backbone.stem.conv{index + 1}")
    for ours, theirs, parts in _resnet_blocks(options, lambda n: f"backbone.res{n + 2}"):
        for part in range(1, parts + 1):
            layout |= _normed(f"{ours}.conv{part}", f"{theirs}.conv{part}")
        layout |= _normed(f"{ours}.shortcut", f"{theirs}.shortcut")
    aspp = "sem_seg_head.decoder.res5.project_conv"
    layout |= _normed("aspp.branches.0", f"{aspp}.convs.0")
    for index in range(1, 4):
        layout |= _detectron2_convolution(
            options.aspp_convolution, f"aspp.branches.{index}", f"{aspp}.convs.{index}"
        )
    layout |= {"aspp.pooling.mix.conv": f"{aspp}.convs.4.1"}
    layout |= _normed("aspp.project", f"{aspp}.project")
    low = "sem_seg_head.decoder.res2"
    layout |= _normed("decoder.low", f"{low}.project_conv")
    for index in range(options.decoder_layers):
        dense = options.decoder_convolution == "dense"
        layout |= _detectron2_convolution(
            options.decoder_convolution,
            f"decoder.convolutions.{index}",
            f"{low}.fuse_conv.{index}" if dense else f"{low}.fuse_conv",
        )
    return layout | {"decoder.classify": "sem_seg_head.predictor"}


def _pair(ours: str, conv: str, norm: str) -> Layout:
    """Map a block to a convolution and to the norm beside it (`norm` replaces the last part)."""
    return {f"{ours}.conv": conv, f"{ours}.norm": conv.rpartition(".")[0] + norm}


def _module(ours: str, theirs: str) -> Layout:
    return {f"{ours}.conv": f"{theirs}.conv", f"{ours}.norm": f"{theirs}.bn"}


def _normed(ours: str, theirs: str) -> Layout:
    return {f"{ours}.conv": theirs, f"{ours}.norm": f"{theirs}.norm"}


def _separable(ours: str, depthwise: str, pointwise: str, norm: str) -> Layout:
    return {
        f"{ours}.depthwise.conv": depthwise,
        f"{ours}.pointwise.conv": pointwise,
        f"{ours}.pointwise.norm": norm,
    }


def _separable_module(ours: str, theirs: str) -> Layout:
    return _module(f"{ours}.depthwise", f"{theirs}.depthwise_conv") | _module(
        f"{ours}.pointwise", f"{theirs}.pointwise_conv"
    )


def _detectron2_convolution(kind: str, ours: str, theirs: str) -> Layout:
    if kind == "dense":
        return _normed(ours, theirs)
    return _normed(f"{ours}.depthwise", f"{theirs}.depthwise") | _normed(
        f"{ours}.pointwise", f"{theirs}.pointwise"
    )


def _head_convolution(kind: str, ours: str, theirs: str, body: str) -> Layout:
    """Map a convolution that is ``theirs.0``, its norm ``theirs.1``."""
    if kind == "dense":
        return _pair(ours, f"{theirs}.0", ".1")
    return _separable(ours, f"{theirs}.0{body}.0", f"{theirs}.0{body}.1", f"{theirs}.1")


def _sequential_aspp(options: Architecture, theirs: str, body: str) -> Layout:
    """Map the ASPP of torchvision's descendants, made of numbered sequences."""
    layout = _pair("aspp.branches.0", f"{theirs}.convs.0.0", ".1")
    for index in range(1, 4):
        layout |= _head_convolution(
            options.aspp_convolution, f"aspp.branches.{index}", f"{theirs}.convs.{index}", body
        )
    layout |= _pair("aspp.pooling.mix", f"{theirs}.convs.4.1", ".2")
    return layout | _pair("aspp.project", f"{theirs}.project.0", ".1")


def _resnet_blocks(
    options: Architecture, stage_name: Callable[[int], str]
) -> Iterator[tuple[str, str, int]]:
    """Yield our block, their block and its number of convolutions."""
    counts, bottleneck = RESNET_BLOCKS[options.backbone]
    for stage, count in enumerate(counts):
        for block in range(count):
            ours = f"backbone.stages.{stage}.{block}"
            yield ours, f"{stage_name(stage)}.{block}", 3 if bottleneck else 2


def _resnet(options: Architecture, theirs: str) -> Layout:
    """Map a ResNet named as in torchvision, which all but Detectron2 do."""
    layout = _pair("backbone.stem.0", f"{theirs}.conv1", ".bn1")
    for ours, block, parts in _resnet_blocks(options, lambda n: f"{theirs}.layer{n + 1}"):
        for part in range(1, parts + 1):
            layout |= _pair(f"{ours}.conv{part}", f"{block}.conv{part}", f".bn{part}")
        layout |= _pair(f"{ours}.shortcut", f"{block}.downsample.0", ".1")
    return layout


def _mobilenet(block: Callable[[str, str, bool], Layout], name: Callable[[int], str]) -> Layout:
    layout: Layout = {}
    index = 1
    for stage, (expansion, _, blocks, _) in enumerate(MOBILENET_STAGES):
        for number in range(blocks):
            ours = f"backbone.stages.{stage}.{number}"
            layout |= block(ours, name(index), expansion != 1)
            index += 1
    return layout


def _xception() -> Layout:
    """Map jfzhang95's Xception, whose blocks begin with a ReLU or leave it out."""
    layout: Layout = {}
    for index in range(2):
        layout |= _pair(f"backbone.stem.{index}", f"backbone.conv{index + 1}", f".bn{index + 1}")
    for number, stage in enumerate(xception_stages(16), start=1):
        ours, theirs = f"backbone.stages.{number - 1}", f"backbone.block{number}"
        layout |= _pair(f"{ours}.shortcut", f"{theirs}.skip", ".skipbn")
        first = 1 if stage.activate_input else 0
        for index in range(len(stage.channels) - 1):
            place = f"{theirs}.rep.{first + 3 * index}"
            layout |= _xception_separable(f"{ours}.convolutions.{index}", place)
            norm = f"{theirs}.rep.{first + 3 * index + 1}"
            layout[f"{ours}.convolutions.{index}.pointwise.norm"] = norm
    for index in range(3):
        layout |= _xception_separable(f"backbone.exit.{index}", f"backbone.conv{index + 3}")
        layout[f"backbone.exit.{index}.pointwise.norm"] = f"backbone.bn{index + 3}"
    return layout


def _xception_separable(ours: str, theirs: str) -> Layout:
    return {
        f"{ours}.depthwise.conv": f"{theirs}.conv1",
        f"{ours}.depthwise.norm": f"{theirs}.bn",
        f"{ours}.pointwise.conv": f"{theirs}.pointwise",
    }


def _nested_block(ours: str, theirs: str, expands: bool) -> Layout:  # noqa: FBT001
    """Map torchvision's block: a sequence of conv-norm-activation sequences."""
    layout = _pair(f"{ours}.expand", f"{theirs}.conv.0.0", ".1") if expands else {}
    first = 1 if expands else 0
    layout |= _pair(f"{ours}.filter", f"{theirs}.conv.{first}.0", ".1")
    return layout | _pair(f"{ours}.project", f"{theirs}.conv.{first + 1}", f".{first + 2}")


def _flat_block(ours: str, theirs: str, expands: bool) -> Layout:  # noqa: FBT001
    """Map jfzhang95's block: one flat sequence."""
    layout: Layout = {}
    for index, part in enumerate(_block_parts(expands=expands)):
        layout |= _pair(f"{ours}.{part}", f"{theirs}.conv.{3 * index}", f".{3 * index + 1}")
    return layout


def _block_parts(*, expands: bool) -> tuple[str, ...]:
    return ("expand", "filter", "project") if expands else ("filter", "project")


def _split_feature(index: int) -> str:
    return f"backbone.{'low' if index < 4 else 'high'}_level_features.{index}"  # noqa: PLR2004
