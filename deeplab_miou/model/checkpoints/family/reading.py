"""What each family's weights say of their network, and what its code adds without saying.

What a file cannot say (output stride, atrous rates, `align_corners`) has the default that the
family documents. Facts are from the families' own code: VainF/DeepLabV3Plus-Pytorch,
qubvel-org/segmentation_models.pytorch, open-mmlab/mmsegmentation 1.x,
jfzhang95/pytorch-deeplab-xception and facebookresearch/detectron2 (projects/DeepLab).

Each function takes the weights by name and the output stride, 8 or 16; a missing key is a
`KeyError`, an encoder or width that is not known a `ConfigurationError`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.backbones import MOBILENET_STAGES, RESNET_BLOCKS, mobilenet_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from deeplab_miou.model.network.architecture import BackboneKind
    from deeplab_miou.model.network.blocks import Convolution

_SHOWN_KEYS = 10
_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
_DETECTRON2_CROP = (512, 1024)
_LAST_FEATURE = sum(blocks for _, _, blocks, _ in MOBILENET_STAGES)


def enumerate_keys(keys: Sequence[str]) -> str:
    """Return the number of keys and the first ten."""
    more = ", ..." if len(keys) > _SHOWN_KEYS else ""
    return f"{len(keys)} keys ({', '.join(keys[:_SHOWN_KEYS])}{more})"


def vainf(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of VainF/DeepLabV3Plus-Pytorch."""
    head = "classifier.classifier"
    separable = f"{head}.0.body.0.weight" in tensors
    kind: Convolution = "separable" if separable else "dense"
    options = Architecture(
        num_classes=_rows(tensors, f"{head}.3"),
        output_stride=stride,
        atrous_rates=_RATES[stride],
        aspp_width=_rows(tensors, "classifier.aspp.project.0"),
        aspp_convolution=kind,
        low_width=_rows(tensors, "classifier.project.0"),
        decoder_width=_columns(tensors, f"{head}.3"),
        decoder_convolution=kind,
        dilation_rule="contracted",
    )
    if "backbone.low_level_features.0.0.weight" in tensors:
        last = _rows(tensors, f"backbone.high_level_features.{_LAST_FEATURE}.conv.2")
        return dataclasses.replace(
            options,
            width=_mobilenet_width(last),
            pad_before_expansion=True,
            stem_padding=0,
        )
    return _with_resnet(options, tensors, "backbone")


def smp(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of segmentation_models_pytorch."""
    separable = "decoder.aspp.0.convs.1.0.1.weight" in tensors
    options = Architecture(
        num_classes=_rows(tensors, "segmentation_head.0"),
        output_stride=stride,
        atrous_rates=_RATES[8],
        aspp_width=_rows(tensors, "decoder.aspp.0.project.0"),
        aspp_convolution="separable" if separable else "dense",
        aspp_refine=True,
        low_width=_rows(tensors, "decoder.block1.0"),
        decoder_width=_columns(tensors, "segmentation_head.0"),
        decoder_convolution="separable",
        concatenation="aspp_first",
        align_corners=True,
    )
    if "encoder.features.0.0.weight" in tensors:
        last = _rows(tensors, f"encoder.features.{_LAST_FEATURE}.conv.2")
        return dataclasses.replace(
            options,
            width=_mobilenet_width(last),
            head_channels=_rows(tensors, f"encoder.features.{_LAST_FEATURE + 1}.0"),
        )
    return _with_resnet(options, tensors, "encoder")


def mmseg(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of mmsegmentation 1.x."""
    head = "decode_head"
    options = Architecture(
        num_classes=_rows(tensors, f"{head}.conv_seg"),
        output_stride=stride,
        atrous_rates=_RATES[stride],
        aspp_width=_rows(tensors, f"{head}.bottleneck.conv"),
        aspp_convolution="separable_bn",
        aspp_project_kernel=3,
        aspp_pool_first=True,
        low_width=_rows(tensors, f"{head}.c1_bottleneck.conv"),
        decoder_width=_columns(tensors, f"{head}.conv_seg"),
        decoder_layers=2,
        decoder_convolution="separable_bn",
        concatenation="aspp_first",
    )
    if "backbone.layer1.0.conv.1.conv.weight" in tensors:
        last = _rows(tensors, "backbone.layer7.0.conv.2.conv")
        return dataclasses.replace(options, width=_mobilenet_width(last), dilation_rule="first")
    options = dataclasses.replace(
        options,
        dilation_rule="contracted",
        dilate_both=False,
        # Its only configuration at stride 16 is "d16-mg124".
        multi_grid=(1, 2, 4) if stride == 16 else (),  # noqa: PLR2004
    )
    return _with_resnet(options, tensors, "backbone")


def jfzhang(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of jfzhang95/pytorch-deeplab-xception."""
    options = Architecture(
        num_classes=_rows(tensors, "decoder.last_conv.8"),
        output_stride=stride,
        atrous_rates=_RATES[stride],
        aspp_width=_rows(tensors, "aspp.conv1"),
        low_width=_rows(tensors, "decoder.conv1"),
        decoder_width=_columns(tensors, "decoder.last_conv.8"),
        decoder_layers=2,
        concatenation="aspp_first",
        align_corners=True,
    )
    if "backbone.low_level_features.0.0.weight" in tensors:
        last = _rows(tensors, f"backbone.high_level_features.{_LAST_FEATURE}.conv.6")
        return dataclasses.replace(
            options,
            width=_mobilenet_width(last),
            pad_before_expansion=True,
            dilation_rule="delayed",
        )
    if "backbone.conv5.pointwise.weight" in tensors:
        return dataclasses.replace(options, backbone="xception65")
    options = dataclasses.replace(options, multi_grid=_multi_grid(stride))
    return _with_resnet(options, tensors, "backbone")


def detectron2(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of the DeepLab project of Detectron2."""
    aspp = "sem_seg_head.decoder.res5.project_conv"
    low = "sem_seg_head.decoder.res2"
    dense = f"{low}.fuse_conv.0.weight" in tensors
    decoder: Convolution = "dense" if dense else "separable_bn"
    atrous: Convolution = "dense" if f"{aspp}.convs.1.weight" in tensors else "separable_bn"
    if "backbone.stem.conv3.weight" not in tensors:
        raise ConfigurationError(
            "its ResNet has the plain stem, whose stride and colours depend on the configuration; "
            "only the deep stem (STEM_TYPE: deeplab) is known"
        )
    return Architecture(
        num_classes=_rows(tensors, "sem_seg_head.predictor"),
        backbone=_resnet_kind(tensors, lambda n: f"backbone.res{n + 2}"),
        output_stride=stride,
        multi_grid=_multi_grid(stride),
        stem="deep",
        stem_width=_rows(tensors, "backbone.stem.conv3"),
        aspp_width=_rows(tensors, f"{aspp}.project"),
        aspp_convolution=atrous,
        pool_norm=False,
        pool_window=(_DETECTRON2_CROP[0] // stride, _DETECTRON2_CROP[1] // stride),
        low_width=_rows(tensors, f"{low}.project_conv"),
        decoder_width=_columns(tensors, "sem_seg_head.predictor"),
        decoder_layers=2 if dense else 1,
        decoder_kernel=3 if dense else 5,
        decoder_convolution=decoder,
        resize="crop",
    )


def _with_resnet(
    options: Architecture, tensors: Mapping[str, Tensor], backbone: str
) -> Architecture:
    """Add what a ResNet named as in torchvision decides."""
    deep = f"{backbone}.stem.0.weight" in tensors
    return dataclasses.replace(
        options,
        backbone=_resnet_kind(tensors, lambda n: f"{backbone}.layer{n + 1}"),
        stem="deep" if deep else "plain",
        stem_width=_rows(tensors, f"{backbone}.stem.6" if deep else f"{backbone}.conv1"),
    )


def _resnet_kind(tensors: Mapping[str, Tensor], stage: Callable[[int], str]) -> BackboneKind:
    counts = []
    for index in range(4):
        prefix = f"{stage(index)}."
        blocks = {key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix)}
        counts.append(len(blocks))
    bottleneck = f"{stage(0)}.0.conv3.weight" in tensors
    for name, known in RESNET_BLOCKS.items():
        if known == (tuple(counts), bottleneck):
            return cast("BackboneKind", name)
    raise ConfigurationError(
        f"its encoder is none of mobilenet_v2, {', '.join(RESNET_BLOCKS)}; "
        f"it has {enumerate_keys([key for key in tensors if key.endswith('.weight')])}"
    )


def _mobilenet_width(last: int) -> float:
    """Return the width multiplier of a MobileNetV2 whose last stage has so many channels."""
    width = last / MOBILENET_STAGES[-1][1]
    if mobilenet_channels(width)[-1] != last:
        raise ConfigurationError(f"MobileNetV2's last stage has {last} channels: no known width")
    return width


def _multi_grid(stride: int) -> tuple[int, ...]:
    """Return the dilations 1-2-4 times that of the last stage."""
    return tuple(unit * 32 // stride for unit in (1, 2, 4))


def _rows(tensors: Mapping[str, Tensor], layer: str) -> int:
    return int(tensors[f"{layer}.weight"].shape[0])


def _columns(tensors: Mapping[str, Tensor], layer: str) -> int:
    return int(tensors[f"{layer}.weight"].shape[1])
