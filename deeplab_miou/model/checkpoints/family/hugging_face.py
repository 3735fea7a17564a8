"""Checkpoints of Hugging Face's MobileNetV2ForSemanticSegmentation; from transformers' code.

Its "DeepLabV3+" has neither atrous branches nor low-level features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.checkpoint import Preprocessing
from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.configuration import NOTHING, Stated, read_object
from deeplab_miou.model.checkpoints.family.naming import Layout, block_parts, mobile_blocks
from deeplab_miou.model.checkpoints.family.reading import mobilenet_width, rows
from deeplab_miou.model.network.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from torch import Tensor

_ENCODER = "mobilenet_v2"
_HEAD = "segmentation_head"
_CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_PARTS = {"expand": "expand_1x1", "filter": "conv_3x3", "project": "reduce_1x1"}
_WHITE = 255


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of Hugging Face."""
    return Architecture(
        num_classes=rows(tensors, f"{_HEAD}.classifier.convolution"),
        width=mobilenet_width(rows(tensors, f"{_ENCODER}.layer.15.reduce_1x1.convolution")),
        output_stride=stride,
        dilation_rule="contracted",
        padding="same",
        encoder_epsilon=1e-3,
        aspp_width=rows(tensors, f"{_HEAD}.conv_projection.convolution"),
        atrous_rates=(),
        aspp_pool_first=True,
        low_width=0,
        decoder_layers=0,
    )


def layout(architecture: Architecture) -> Layout:
    """Return the layout of Hugging Face."""
    found = _layer("backbone.stem", f"{_ENCODER}.conv_stem.first_conv")
    # The first block is part of its stem.
    for index, block in enumerate(mobile_blocks(architecture), start=-1):
        theirs = f"{_ENCODER}.{'conv_stem' if index < 0 else f'layer.{index}'}"
        for part in block_parts(expands=block.expands):
            found |= _layer(f"{block.name}.{part}", f"{theirs}.{_PARTS[part]}")
    found |= _layer("aspp.branches.0", f"{_HEAD}.conv_aspp")
    found |= _layer("aspp.pooling.mix", f"{_HEAD}.conv_pool")
    found |= _layer("aspp.project", f"{_HEAD}.conv_projection")
    return found | {"decoder.classify": f"{_HEAD}.classifier.convolution"}


def _layer(ours: str, theirs: str) -> Layout:
    return {f"{ours}.conv": f"{theirs}.convolution", f"{ours}.norm": f"{theirs}.normalization"}


def stated(path: Path, _weights: Collection[str]) -> Stated:
    """Return what ``save_pretrained`` wrote next to the weights.

    Raises:
        ConfigurationError: it describes a network that is not known, or no normalisation.
    """
    return Stated(_architecture(path.parent / _CONFIG), _preprocessing(path.parent / _PREPROCESSOR))


def _architecture(config: Path) -> Mapping[str, object]:
    content = read_object(config)
    if content.get("model_type") != _ENCODER:
        return NOTHING.architecture
    activation = content.get("hidden_act", "relu6")
    if activation != "relu6":
        raise ConfigurationError(
            f"{config}: hidden_act is {activation!r:.40}, but only 'relu6' is supported; export "
            "the network as TorchScript or ONNX"
        )
    found: dict[str, object] = {}
    if "output_stride" in content:
        found["output_stride"] = content["output_stride"]
    if "layer_norm_eps" in content:
        found["encoder_epsilon"] = content["layer_norm_eps"]
    if content.get("tf_padding") is False:
        found["padding"] = "symmetric"
    return found


def _preprocessing(config: Path) -> Preprocessing | None:
    """Return mean and standard deviation for images in 0..1, whatever they are rescaled to."""
    content = read_object(config)
    if "image_mean" not in content or "image_std" not in content:
        return None
    if content.get("do_normalize", True) is not True:
        return Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    rescaled = content.get("do_rescale", True) is True
    factor = content.get("rescale_factor", 1 / _WHITE) if rescaled else 1.0
    values = {}
    for name in ("mean", "std"):
        numbers = content[f"image_{name}"]
        try:
            values[name] = [number / (factor * _WHITE) for number in numbers]  # type: ignore[operator, attr-defined]
        except (TypeError, ZeroDivisionError) as error:
            raise ConfigurationError(
                f"{config}: image_{name} is {numbers!r:.60} and rescale_factor {factor!r:.40}, "
                "expected three numbers and a number above 0"
            ) from error
    return Preprocessing.from_dict(values, str(config))


FAMILY = Family(
    name="Hugging Face MobileNetV2",
    signature=f"{_HEAD}.conv_aspp.",
    output_stride=8,
    describe=describe,
    layout=layout,
    # Only classifiers of whole images use the encoder's last convolution.
    ignored=(f"{_ENCODER}.conv_1x1.",),
    preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    stated=stated,
)
