from __future__ import annotations

import pytest
import torch
from torch import nn

from deeplab_miou.model.inference import onednn
from deeplab_miou.model.inference.fast import (
    RewrittenDecoder,
    accelerate,
    shifted_upsampling,
    split_into_bands,
)
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.blocks import ConvBlock
from deeplab_miou.model.network.deeplab import build

BASE = {
    "num_classes": 7,
    "width": 0.25,
    "aspp_width": 24,
    "low_width": 8,
    "decoder_width": 20,
    "atrous_rates": (1, 2, 3),
}


def make_network(**options):
    torch.manual_seed(0)
    network = build(Architecture(**(BASE | options)))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.4, 1.1)
            module.bias.data.uniform_(-0.4, 0.4)
    return network


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"align_corners": True, "concatenation": "aspp_first", "decoder_layers": 2},
        {"pad_before_expansion": True, "stem_padding": 0, "output_stride": 8},
        {
            "aspp_convolution": "separable",
            "decoder_convolution": "separable",
            "atrous_rates": (1, 12, 36),
        },
        {"aspp_convolution": "separable_bn", "decoder_convolution": "separable_bn"},
        {"backbone": "resnet18", "stem": "deep", "pool_window": (2, 2), "pool_norm": False},
        {"backbone": "xception65", "output_stride": 8},
        {"backbone": "aligned_xception65"},
        {"backbone": "efficientnet_b0", "padding": "same", "padding_size": 224},
        {"backbone": "mobilenet_v3_large", "padding": "same", "encoder_epsilon": 1e-3},
        {"backbone": "resnet50", "groups": 32, "bottleneck_width": 128, "squeeze_reduction": 16},
        {"backbone": "hrnetv2_32", "output_stride": 4},
        {"atrous_rates": (), "decoder_layers": 0, "low_width": 0},
        {"head_channels": 32, "aspp_refine": True, "aspp_project_kernel": 3},
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (75, 133)])
@pytest.mark.parametrize("rewrite", [True, False])
def test_logits_are_those_of_the_plain_network(options, size, rewrite):
    network = make_network(**options)
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network(image)
        logits = accelerate(network, rewrite=rewrite)(image)
    assert expected.std() > 0.05
    tolerance = 2e-5 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)


def test_logits_of_an_xception_that_shrinks_its_maps_are_those_of_the_plain_network():
    network = make_network(backbone="xception")
    image = torch.randn(1, 3, 107, 144, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, logits = network(image), accelerate(network)(image)
    assert expected.std() > 0.05
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)


def test_network_itself_is_left_alone():
    network = make_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    accelerate(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("options", "rewritten"),
    [
        ({}, True),
        ({"decoder_convolution": "separable"}, False),
        ({"decoder_kernel": 5}, False),
    ],
)
def test_only_dense_3x3_decoders_are_rewritten(options, rewritten):
    network = accelerate(make_network(**options))
    assert isinstance(network.decoder, RewrittenDecoder) is rewritten
    plain = accelerate(make_network(**options), rewrite=False)
    assert not isinstance(plain.decoder, RewrittenDecoder)


def test_blocks_run_without_the_operator_of_onednn(monkeypatch):
    monkeypatch.setattr(onednn, "is_available", lambda: False)
    network = make_network()
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        accelerated = accelerate(network)
        torch.testing.assert_close(accelerated(image), network(image), rtol=1e-4, atol=2e-5)
    assert not any(isinstance(m, onednn.FusedBlock) for m in accelerated.modules())


@pytest.mark.parametrize("dilation", [12, 20, 36])
@pytest.mark.parametrize("size", [(20, 70), (13, 12), (90, 90), (1, 40)])
@pytest.mark.parametrize(("activation", "bias"), [("relu", True), ("relu6", True), ("none", False)])
def test_far_taps_are_those_of_the_convolution(dilation, size, activation, bias):
    torch.manual_seed(0)
    block = ConvBlock(
        8, 8, 3, dilation=dilation, groups=8, norm=False, bias=bias, activation=activation
    )
    x = torch.randn(2, 8, *size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        torch.testing.assert_close(onednn.FarBlock(block)(x), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(4, 16), (5, 19), (1, 4), (7, 7), (40, 157)])
def test_bands_are_the_whole_upsampling(inputs, outputs, align_corners):
    matrices = shifted_upsampling(inputs, outputs, align_corners=align_corners)
    assert matrices.shape == (3, inputs, outputs)
    rebuilt = torch.zeros_like(matrices)
    for out, band, matrix in split_into_bands(matrices):
        block = matrix.view(matrix.shape[0], -1, 3)
        rebuilt[:, band, out] = block.permute(2, 1, 0)
    assert torch.equal(rebuilt, matrices)


def test_upsampling_seen_through_a_kernel_is_zero_outside():
    left, middle, right = shifted_upsampling(4, 16, align_corners=False)
    assert not left[:, 0].any()
    assert not right[:, -1].any()
    assert torch.equal(left[:, 1:], middle[:, :-1])
    assert torch.equal(right[:, :-1], middle[:, 1:])
