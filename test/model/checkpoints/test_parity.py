"""Our network against segmentation_models_pytorch's own code with the same random weights."""

from __future__ import annotations

import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints import load as checkpoints


def randomize(network, seed):
    """Draw weights and batch statistics that keep the features at about their scale."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor, low, high):
        tensor.data.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            draw(module.running_mean, -0.3, 0.3)
            draw(module.running_var, 0.5, 1.5)
            draw(module.weight, 0.4, 1.1)
            draw(module.bias, -0.4, 0.4)
        elif isinstance(module, torch.nn.Conv2d):
            bound = (4.5 / module.weight[0].numel()) ** 0.5
            draw(module.weight, -bound, bound)
            if module.bias is not None:
                draw(module.bias, -0.3, 0.3)
    return network.eval()


@pytest.mark.filterwarnings("ignore:.timm-. encoders are deprecated")
@pytest.mark.parametrize(
    ("encoder", "stride", "options"),
    [
        ("mobilenet_v2", 16, {}),
        ("mobilenet_v2", 8, {"decoder_channels": 64}),
        ("resnet18", 16, {"decoder_aspp_separable": False, "decoder_channels": 64}),
        ("resnet18", 8, {"decoder_channels": 32}),
        ("resnet50", 16, {"decoder_channels": 32}),
        ("efficientnet-b0", 16, {"decoder_channels": 32}),
        ("timm-efficientnet-b0", 16, {"decoder_channels": 64}),
        ("resnext50_32x4d", 8, {"decoder_channels": 32}),
        ("se_resnet50", 8, {"decoder_channels": 32}),
        ("tu-seresnet50", 16, {"decoder_channels": 32}),
    ],
)
def test_logits_equal_those_of_the_original(smp, tmp_path, encoder, stride, options):
    original = randomize(
        smp.DeepLabV3Plus(
            encoder, encoder_weights=None, classes=7, encoder_output_stride=stride, **options
        ),
        seed=stride,
    )
    path = tmp_path / "net.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in original.state_dict().items()}}, path)
    check_logits(original, checkpoints.load(path, output_stride=stride).network)


@pytest.mark.parametrize(
    ("encoder", "stride", "options"),
    [
        ("mobilenet_v2", 8, {"decoder_channels": 64}),
        ("resnet18", 16, {"decoder_aspp_separable": True, "decoder_channels": 64}),
        ("resnet50", 8, {"decoder_channels": 32}),
    ],
)
def test_deeplabv3_of_segmentation_models(smp, tmp_path, encoder, stride, options):
    original = randomize(
        smp.DeepLabV3(
            encoder, encoder_weights=None, classes=7, encoder_output_stride=stride, **options
        ),
        seed=stride,
    )
    torch.save(original.state_dict(), tmp_path / "net.pth")
    check_logits(original, checkpoints.load(tmp_path / "net.pth", output_stride=stride).network)


@pytest.mark.parametrize(
    "name", ["deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"]
)
def test_deeplabv3_of_torchvision(parity, tmp_path, name):
    segmentation = parity("torchvision.models.segmentation")
    build = getattr(segmentation, name)
    original = randomize(
        build(weights=None, weights_backbone=None, num_classes=7, aux_loss=True), seed=3
    )
    torch.save({"model": original.state_dict(), "epoch": 3}, tmp_path / "net.pth")
    loaded = checkpoints.load(tmp_path / "net.pth")
    assert loaded.family == "torchvision DeepLabv3"
    check_logits(lambda image: original(image)["out"], loaded.network)


@pytest.mark.parametrize(
    "options",
    [
        {"output_stride": 8},
        {"output_stride": 16, "depth_multiplier": 0.35, "tf_padding": False},
        {"output_stride": 16, "depth_multiplier": 0.5, "layer_norm_eps": 0.01},
    ],
)
def test_mobilenet_of_hugging_face(parity, tmp_path, options):
    transformers = parity("transformers")
    config = transformers.MobileNetV2Config(num_labels=7, **options)
    original = randomize(transformers.MobileNetV2ForSemanticSegmentation(config), seed=4)
    original.save_pretrained(tmp_path)

    def logits(image):
        coarse = original(image).logits
        return torch.nn.functional.interpolate(coarse, size=image.shape[-2:], mode="bilinear")

    check_logits(logits, checkpoints.load(tmp_path / "model.safetensors").network)


@pytest.mark.parametrize(
    ("encoder", "named"),
    [
        ("senet154", "its encoder is SENet-154"),
        ("tu-resnet18d", "its encoder is"),
        ("tu-efficientnet_b0", "its encoder is"),
    ],
)
def test_encoders_that_are_not_known_are_named(smp, tmp_path, encoder, named):
    with torch.device("meta"):
        network = smp.DeepLabV3(encoder, encoder_weights=None, encoder_output_stride=16)
    zero = torch.zeros(())
    weights = {key: zero.expand(value.shape) for key, value in network.state_dict().items()}
    torch.save(weights, tmp_path / "net.pth")
    with pytest.raises(ConfigurationError, match=named):
        checkpoints.load(tmp_path / "net.pth")


def check_logits(original, ours):
    # smp takes multiples of 16 only; the larger one is wide enough for two of the atrous rates.
    for size in ((64, 112), (208, 416)):
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected, logits = original(image), ours(image)
        assert expected.std() > 0.1, "logits too small for the comparison to mean anything"
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
        best = expected.topk(2, dim=1).values
        differs = logits.argmax(1) != expected.argmax(1)
        assert torch.all((best[:, 0] - best[:, 1])[differs] < 1e-4)
