from __future__ import annotations

import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.blocks import SamePadding
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.model.network.mobile_shapes import efficientnet_shape, mobilenet_channels
from deeplab_miou.model.network.stages import plan_stages

HEAD = {"num_classes": 4, "aspp_width": 16, "low_width": 8, "decoder_width": 16}


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0.25},
        {"width": 0.25, "output_stride": 8, "pad_before_expansion": True, "stem_padding": 0},
        {"width": 0.35, "aspp_convolution": "separable", "decoder_convolution": "separable_bn"},
        {"backbone": "resnet18", "stem": "deep", "align_corners": True, "resize": "crop"},
        {"width": 0.25, "pool_window": (2, 2), "pool_norm": False, "aspp_refine": True},
        {"width": 0.25, "padding": "same", "atrous_rates": (), "decoder_layers": 0},
        {"backbone": "efficientnet_b0", "padding": "same", "padding_size": 224},
        {"backbone": "hrnetv2_32", "output_stride": 4},
    ],
)
@pytest.mark.parametrize("size", [(33, 47), (64, 32)])
def test_logits_have_the_size_of_the_image(options, size):
    network = build(Architecture(**(HEAD | options)))
    with torch.inference_mode():
        logits = network(torch.rand(2, 3, *size))
    assert logits.shape == (2, 4, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    "backbone",
    [
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_lite0",
        "resnet18",
        "xception65",
        "aligned_xception65",
    ],
)
@pytest.mark.parametrize("stride", [8, 16])
def test_output_stride_is_that_of_the_deep_features(backbone, stride):
    network = build(Architecture(**HEAD, backbone=backbone, width=0.25, output_stride=stride))
    with torch.inference_mode():
        low, deep = network.backbone(torch.rand(1, 3, 64, 96))
    assert low.shape[-2:] == (16, 24)
    assert deep.shape[-2:] == (64 // stride, 96 // stride)


def test_mobilenet_has_its_documented_channels():
    assert mobilenet_channels(1.0) == (32, 16, 24, 32, 64, 96, 160, 320)
    assert mobilenet_channels(0.5) == (16, 8, 16, 16, 32, 48, 80, 160)


@pytest.mark.parametrize(
    ("rule", "stride", "dilations"),
    [
        ("stage", 16, [[1], [1, 1], [1, 1, 1], [2, 2]]),
        ("ahead", 16, [[1], [1, 1], [1, 2, 2], [2, 2]]),
        ("contracted", 16, [[1], [1, 1], [1, 1, 1], [1, 2]]),
        ("stage", 8, [[1], [2, 2], [2, 2, 2], [4, 4]]),
        ("ahead", 8, [[1], [2, 2], [2, 4, 4], [4, 4]]),
        ("delayed", 8, [[1], [1, 1], [2, 2, 2], [2, 2]]),
        ("first", 8, [[1], [2, 1], [2, 1, 1], [4, 1]]),
    ],
)
def test_strides_become_dilation_by_the_rule(rule, stride, dilations):
    options = Architecture(num_classes=2, output_stride=stride, dilation_rule=rule)
    plans = plan_stages(options, [(1, 2), (2, 2), (3, 1), (2, 2)], current=4)
    assert [plan.dilations for plan in plans] == dilations


@pytest.mark.parametrize(
    ("kernel", "side", "size", "zeros"),
    [
        (3, 8, None, (0, 1)),
        (3, 9, None, (1, 1)),
        (5, 8, None, (1, 2)),
        (5, 9, None, (2, 2)),
        (3, 9, 8, (0, 1)),
        (3, 8, 15, (1, 1)),
        (1, 8, None, (0, 0)),
    ],
)
def test_same_padding_is_that_of_tensorflow(kernel, side, size, zeros):
    padded = SamePadding(kernel, 2, size)(torch.ones(1, 1, side, side + 2))
    before, after = zeros
    for axis, length in ((2, side), (3, side + 2)):
        line = padded[0, 0].amax(3 - axis).tolist()
        assert line == [0.0] * before + [1.0] * length + [0.0] * after


def test_efficientnets_have_their_documented_shapes():
    shape = efficientnet_shape("efficientnet_b3")
    assert shape.stem == 40
    assert [len(stage.blocks) for stage in shape.stages] == [2, 3, 3, 5, 5, 6, 2]
    assert [stage.blocks[-1].out for stage in shape.stages] == [24, 32, 48, 96, 136, 232, 384]
    assert shape.stages[1].blocks[0].squeezed == 6
    lite = efficientnet_shape("efficientnet_lite4")
    assert lite.stem == 32
    assert [len(stage.blocks) for stage in lite.stages] == [1, 4, 4, 6, 6, 8, 1]
    assert not any(block.squeezed for stage in lite.stages for block in stage.blocks)


def test_small_networks_are_small():
    small = Architecture(
        num_classes=8,
        width=0.25,
        aspp_width=48,
        low_width=16,
        decoder_width=48,
        aspp_convolution="separable",
        decoder_convolution="separable",
    )
    assert 150_000 < sum(each.numel() for each in build(small).parameters()) < 200_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 256}, "num_classes is 256, expected 1 to 255"),
        ({"num_classes": 2, "backbone": "vgg"}, "backbone is 'vgg', expected mobilenet_v2 or"),
        ({"num_classes": 2, "output_stride": 32}, "output_stride is 32, expected 8 or 16"),
        ({"num_classes": 2, "aspp_width": 0}, "aspp_width is 0, expected 1 to 65535"),
        (
            {"num_classes": 2, "width": float("inf")},
            "width is inf, expected more than 0, at most 16",
        ),
        ({"num_classes": 2, "low_width": 2.5}, "low_width is 2.5"),
        ({"num_classes": True}, "num_classes is True"),
        (
            {"num_classes": 2, "decoder_layers": 10**9},
            "decoder_layers is 1000000000, expected 0 to 2",
        ),
        ({"num_classes": 2, "decoder_kernel": 4}, "decoder_kernel is 4, expected 1 to 15, odd"),
        ({"num_classes": 2, "multi_grid": ({"a": 1}, -5)}, "multi_grid is"),
        ({"num_classes": 2, "multi_grid": (1,) * 65}, "multi_grid is"),
        ({"num_classes": 2, "atrous_rates": (1, 2)}, "atrous_rates is .1, 2., expected 3 numbers"),
        ({"num_classes": 2, "pool_window": (1, 1 << 40)}, "pool_window is .*, expected 2 numbers"),
        (
            {"num_classes": 2, "groups": 3},
            "groups is 3, expected a divisor of bottleneck_width, 64",
        ),
        ({"num_classes": 2, "squeeze_reduction": 128}, "squeeze_reduction is 128, expected 0 to"),
        ({"num_classes": 2, "head_epsilon": 0}, "head_epsilon is 0, expected more than 0, at most"),
        (
            {"num_classes": 2, "backbone": "hrnetv2_32"},
            "output_stride is 16, expected 4 for hrnetv2_32",
        ),
        ({"num_classes": 2, "align_corners": 1}, "align_corners is 1, expected true or false"),
        ({"num_classes": 2, "backbone": ["a"]}, "backbone is .'a'., expected mobilenet_v2"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Architecture(**options)


def test_architecture_survives_json():
    original = Architecture(num_classes=3, pool_window=(4, 8), multi_grid=(1, 2, 4))
    assert Architecture.from_dict(original.to_dict(), "x") == original
    with pytest.raises(ConfigurationError, match=r"x: unknown architecture option 'depth'"):
        Architecture.from_dict({"num_classes": 3, "depth": 1}, "x")
