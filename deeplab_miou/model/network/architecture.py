"""A full description of a DeepLabv3+: everything in which the known implementations differ."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.network.blocks import Convolution

if TYPE_CHECKING:
    from collections.abc import Mapping

BackboneKind = Literal[
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_b8",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_lite3",
    "efficientnet_lite4",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "xception",
    "xception65",
    "aligned_xception65",
    "hrnetv2_32",
    "hrnetv2_48",
]
Stem = Literal["plain", "deep"]
StemPool = Literal["padded", "ceil"]
Padding = Literal["symmetric", "same"]
DilationRule = Literal["stage", "ahead", "contracted", "delayed", "first"]
Concatenation = Literal["low_first", "aspp_first"]
Resize = Literal["fit", "crop"]

OUTPUT_STRIDES = (8, 16)
_MAX_CLASSES = 255


@dataclass(frozen=True)
class Architecture:
    """One DeepLabv3+; two equal records build the same network, key for key.

    The defaults are a MobileNetV2 network as torchvision's users would expect it: padding after
    the expansion, dense 3x3 convolutions, one decoder convolution, ``align_corners=False``.

    Attributes:
        num_classes: channels of the logits, 1 to 255.
        backbone: kind of encoder.
        width: channel multiplier of MobileNetV2 (channels rounded to multiples of 8).
        output_stride: input pixels per pixel of the last feature map, 8 or 16; 4 for HRNet.
        dilation_rule: how the strides that were given up become dilation: every block of the
            stage (``stage``), those and all but the first block of the stage before (``ahead``),
            all but its first, which keeps that of the stage before (``contracted``), its first
            alone (``first``), or from the next stage on (``delayed``).
        multi_grid: dilations of the blocks of the last ResNet stage, repeated as needed; empty
            leaves them to the rule.
        dilate_both: whether both convolutions of a ResNet-18/34 block are dilated or the first.
        bottleneck_width: channels of the 3x3 convolutions of the first ResNet stage, where the
            blocks are bottlenecks; twice as many in each further stage.
        groups: groups of those convolutions (ResNeXt).
        stride_first: the first convolution of a bottleneck has the stride instead of the 3x3.
        squeeze_reduction: factor by which the squeeze and excitation of a ResNet block has fewer
            channels than the block; 0 for none.
        stem: one 7x7 convolution (``plain``) or three 3x3 (``deep``); ResNet only.
        stem_width: channels that the ResNet stem puts out.
        stem_pool: whether the ResNet stem's pooling pads by one (``padded``) or not, and counts
            windows that reach beyond the border (``ceil``).
        stem_padding: zeros around the image before MobileNetV2's first convolution, 0 or 1.
        padding: how MobileNets and EfficientNets pad convolutions that have a stride: alike on all
            sides (``symmetric``), or as TensorFlow does (``same``).
        padding_size: side of the image that the latter is counted for; 0 for the image that comes.
        pad_before_expansion: MobileNetV2 blocks pad their input, not the expanded features, so
            that a border pixel is ReLU6(BN(0)) instead of 0.
        head_channels: channels of a MobileNet's final 1x1 convolution; 0 for none.
        encoder_epsilon: added to the variance by the encoder's norms.
        head_epsilon: the same of all other norms.
        aspp_width: channels of each ASPP branch and of its output.
        aspp_convolution: kind of the atrous convolutions.
        atrous_rates: dilations of the three atrous branches; empty for none.
        aspp_project_kernel: side of the kernel that mixes the branches, 1 or 3.
        aspp_pool_first: pooling is the first of the concatenated branches instead of the last.
        aspp_refine: a further 3x3 separable convolution follows the ASPP.
        pool_norm: the pooling branch has a batch norm; else its convolution has a bias.
        pool_window: pooling window (h, w) in pixels of the last feature map, None for global.
        low_width: channels that the low-level features are projected to; 0 for DeepLabv3, whose
            decoder sees the deep features alone.
        concatenation: order of the two inputs of the decoder.
        decoder_width: channels of the decoder convolutions.
        decoder_layers: number of decoder convolutions, 0 to 2.
        decoder_kernel: side of their kernels, 3 or 5.
        decoder_convolution: kind of the decoder convolutions.
        align_corners: convention of both bilinear upsamplings.
        resize: logits are stretched to the image (``fit``) or magnified by 4 exactly and what is
            more than the image cut off (``crop``); the same where 4 divides both sides.
    """

    num_classes: int
    backbone: BackboneKind = "mobilenet_v2"
    width: float = 1.0
    output_stride: int = 16
    dilation_rule: DilationRule = "stage"
    multi_grid: tuple[int, ...] = ()
    dilate_both: bool = True
    bottleneck_width: int = 64
    groups: int = 1
    stride_first: bool = False
    squeeze_reduction: int = 0
    stem: Stem = "plain"
    stem_width: int = 64
    stem_pool: StemPool = "padded"
    stem_padding: int = 1
    padding: Padding = "symmetric"
    padding_size: int = 0
    pad_before_expansion: bool = False
    head_channels: int = 0
    encoder_epsilon: float = 1e-5
    head_epsilon: float = 1e-5
    aspp_width: int = 256
    aspp_convolution: Convolution = "dense"
    atrous_rates: tuple[int, ...] = (6, 12, 18)
    aspp_project_kernel: int = 1
    aspp_pool_first: bool = False
    aspp_refine: bool = False
    pool_norm: bool = True
    pool_window: tuple[int, int] | None = None
    low_width: int = 48
    concatenation: Concatenation = "low_first"
    decoder_width: int = 256
    decoder_layers: int = 1
    decoder_kernel: int = 3
    decoder_convolution: Convolution = "dense"
    align_corners: bool = False
    resize: Resize = "fit"

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            choices = get_args(kind)
            _one_of(name, getattr(self, name), choices, " or ".join(choices))
        for name in _SWITCHES:
            _one_of(name, getattr(self, name), (True, False), "true or false")
        for name, values in _WHOLE_NUMBERS.items():
            _check_number(name, getattr(self, name), values)
        if self.backbone.startswith("hrnet"):
            _one_of("output_stride", self.output_stride, (4,), f"4 for {self.backbone}")
        else:
            _one_of("output_stride", self.output_stride, OUTPUT_STRIDES, "8 or 16")
        _check_positive("width", self.width, _MAX_WIDTH)
        _check_positive("encoder_epsilon", self.encoder_epsilon, 1)
        _check_positive("head_epsilon", self.head_epsilon, 1)
        if self.bottleneck_width % self.groups:
            raise ConfigurationError(
                f"architecture: groups is {self.groups}, expected a divisor of bottleneck_width, "
                f"{self.bottleneck_width}"
            )
        if self.atrous_rates != ():
            _check_numbers("atrous_rates", self.atrous_rates, 3)
        _check_numbers("multi_grid", self.multi_grid)
        if self.pool_window is not None:
            _check_numbers("pool_window", self.pool_window, 2)

    def to_dict(self) -> dict[str, object]:
        """Return all fields as plain types for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object], origin: str) -> Architecture:
        """Return the record that `to_dict` wrote.

        Args:
            mapping: field names and values as JSON holds them.
            origin: what they were read from, for errors.

        Raises:
            ConfigurationError: a field is unknown, missing or out of its range.
        """
        fields = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(mapping) - fields)
        if unknown:
            raise ConfigurationError(
                f"{origin}: unknown architecture option {unknown[0]!r}: the file was written by "
                "a newer deeplab_miou; update the package"
            )
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in mapping.items()}
        try:
            return cls(**values)  # type: ignore[arg-type]
        except (TypeError, ConfigurationError) as error:
            raise ConfigurationError(f"{origin}: bad architecture: {error}") from error


_CHOICES = {
    "backbone": BackboneKind,
    "dilation_rule": DilationRule,
    "stem": Stem,
    "stem_pool": StemPool,
    "padding": Padding,
    "aspp_convolution": Convolution,
    "concatenation": Concatenation,
    "decoder_convolution": Convolution,
    "resize": Resize,
}


# Far above what any network has, and small enough to be built.
_WIDTHS = range(1, 1 << 16)
_DISTANCES = range(1, 1 << 12)
_MAX_WIDTH = 16
_MOST_NUMBERS = 64
_WHOLE_NUMBERS = {
    "num_classes": range(1, _MAX_CLASSES + 1),
    "stem_width": range(2, 1 << 16),
    "bottleneck_width": _WIDTHS,
    "groups": _WIDTHS,
    # The narrowest block has 64 channels.
    "squeeze_reduction": range(65),
    "stem_padding": range(2),
    "padding_size": range(1 << 16),
    "head_channels": range(1 << 16),
    "aspp_width": _WIDTHS,
    "aspp_project_kernel": range(1, 4, 2),
    "low_width": range(1 << 16),
    "decoder_width": _WIDTHS,
    "decoder_layers": range(3),
    "decoder_kernel": range(1, 16, 2),
}
_SWITCHES = (
    "dilate_both",
    "stride_first",
    "pad_before_expansion",
    "aspp_pool_first",
    "aspp_refine",
    "pool_norm",
    "align_corners",
)


def _one_of(name: str, value: object, choices: tuple[object, ...], expected: str) -> None:
    # 1 == True == 1.0, and what has no hash is in no set.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ConfigurationError(f"architecture: {name} is {value!r:.40}, expected {expected}")


def _check_number(name: str, value: object, allowed: range) -> None:
    if type(value) is not int or value not in allowed:
        step = "" if allowed.step == 1 else ", odd"
        raise ConfigurationError(
            f"architecture: {name} is {value!r:.40}, expected {allowed[0]} to {allowed[-1]}{step}"
        )


def _check_positive(name: str, value: object, most: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value <= most:  # type: ignore[operator]
        raise ConfigurationError(
            f"architecture: {name} is {value!r:.40}, expected more than 0, at most {most}"
        )


def _check_numbers(name: str, values: object, count: int | None = None) -> None:
    if (
        not isinstance(values, tuple)
        or len(values) > _MOST_NUMBERS
        or (count is not None and len(values) != count)
        or not all(type(value) is int and value in _DISTANCES for value in values)
    ):
        raise ConfigurationError(
            f"architecture: {name} is {values!r:.60}, expected "
            f"{'' if count is None else f'{count} '}numbers of {_DISTANCES[0]} to {_DISTANCES[-1]}"
        )
