"""Checkpoints of facebookresearch/detectron2 (projects/DeepLab), from its own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import normed, resnet_blocks
from deeplab_miou.model.checkpoints.family.reading import columns, multi_grid, resnet_kind, rows
from deeplab_miou.model.network.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout
    from deeplab_miou.model.network.blocks import Convolution

_DETECTRON2_CROP = (512, 1024)


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of the DeepLab project of Detectron2."""
    aspp = "sem_seg_head.decoder.res5.project_conv"
    low = "sem_seg_head.decoder.res2"
    dense = f"{low}.fuse_conv.0.weight" in tensors
    decoder: Convolution = "dense" if dense else "separable_bn"
    atrous: Convolution = "dense" if f"{aspp}.convs.1.weight" in tensors else "separable_bn"
    if "backbone.stem.conv3.weight" not in tensors:
        raise ConfigurationError(
            "its ResNet has the plain stem, whose stride and colours depend on the configuration; "
            "only the deep stem (STEM_TYPE: deeplab) is supported"
        )
    return Architecture(
        num_classes=rows(tensors, "sem_seg_head.predictor"),
        backbone=resnet_kind(tensors, lambda n: f"backbone.res{n + 2}"),
        output_stride=stride,
        multi_grid=multi_grid(stride),
        stem="deep",
        stem_width=rows(tensors, "backbone.stem.conv3"),
        aspp_width=rows(tensors, f"{aspp}.project"),
        aspp_convolution=atrous,
        pool_norm=False,
        pool_window=(_DETECTRON2_CROP[0] // stride, _DETECTRON2_CROP[1] // stride),
        low_width=rows(tensors, f"{low}.project_conv"),
        decoder_width=columns(tensors, "sem_seg_head.predictor"),
        decoder_layers=2 if dense else 1,
        decoder_kernel=3 if dense else 5,
        decoder_convolution=decoder,
        resize="crop",
    )


def layout(architecture: Architecture) -> Layout:
    """Return the layout of Detectron2's DeepLab project."""
    found: Layout = {}
    for index in range(3):
        found |= normed(f"backbone.stem.{index}", f"backbone.stem.conv{index + 1}")
    for ours, theirs, parts in resnet_blocks(architecture, lambda n: f"backbone.res{n + 2}"):
        for part in range(1, parts + 1):
            found |= normed(f"{ours}.conv{part}", f"{theirs}.conv{part}")
        found |= normed(f"{ours}.shortcut", f"{theirs}.shortcut")
    aspp = "sem_seg_head.decoder.res5.project_conv"
    found |= normed("aspp.branches.0", f"{aspp}.convs.0")
    for index in range(1, 4):
        found |= _detectron2_convolution(
            architecture.aspp_convolution, f"aspp.branches.{index}", f"{aspp}.convs.{index}"
        )
    found |= {"aspp.pooling.mix.conv": f"{aspp}.convs.4.1"}
    found |= normed("aspp.project", f"{aspp}.project")
    low = "sem_seg_head.decoder.res2"
    found |= normed("decoder.low", f"{low}.project_conv")
    for index in range(architecture.decoder_layers):
        dense = architecture.decoder_convolution == "dense"
        found |= _detectron2_convolution(
            architecture.decoder_convolution,
            f"decoder.convolutions.{index}",
            f"{low}.fuse_conv.{index}" if dense else f"{low}.fuse_conv",
        )
    return found | {"decoder.classify": "sem_seg_head.predictor"}


def _detectron2_convolution(kind: str, ours: str, theirs: str) -> Layout:
    if kind == "dense":
        return normed(ours, theirs)
    return normed(f"{ours}.depthwise", f"{theirs}.depthwise") | normed(
        f"{ours}.pointwise", f"{theirs}.pointwise"
    )


FAMILY = Family(
    name="Detectron2",
    signature="sem_seg_head.decoder.res5.",
    output_stride=16,
    describe=describe,
    layout=layout,
    ignored=("pixel_mean", "pixel_std"),
)
