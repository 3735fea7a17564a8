from __future__ import annotations

import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.backbones import mobilenet_channels
from deeplab_miou.model.network.deeplab import build, count_parameters

HEAD = {"num_classes": 4, "aspp_width": 16, "low_width": 8, "decoder_width": 16}


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0.25},
        {"width": 0.25, "output_stride": 8, "pad_before_expansion": True, "stem_padding": 0},
        {"width": 0.35, "aspp_convolution": "separable", "decoder_convolution": "separable_bn"},
        {"backbone": "resnet18", "stem": "deep", "align_corners": True, "resize": "crop"},
        {"width": 0.25, "pool_window": (2, 2), "pool_norm": False, "aspp_refine": True},
    ],
)
@pytest.mark.parametrize("size", [(33, 47), (64, 32)])
def test_logits_have_the_size_of_the_image(options, size):
    network = build(Architecture(**(HEAD | options)))
    with torch.inference_mode():
        logits = network(torch.rand(2, 3, *size))
    assert logits.shape == (2, 4, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "xception65"])
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
    assert 150_000 < count_parameters(build(small)) < 200_000


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
            "decoder_layers is 1000000000, expected 1 to 2",
        ),
        ({"num_classes": 2, "decoder_kernel": 4}, "decoder_kernel is 4, expected 1 to 15, odd"),
        ({"num_classes": 2, "multi_grid": ({"a": 1}, -5)}, "multi_grid is"),
        ({"num_classes": 2, "multi_grid": (1,) * 65}, "multi_grid is"),
        ({"num_classes": 2, "atrous_rates": (1, 2)}, "atrous_rates is .1, 2., expected 3 numbers"),
        ({"num_classes": 2, "pool_window": (1, 1 << 40)}, "pool_window is .*, expected 2 numbers"),
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
