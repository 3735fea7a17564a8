"""What files next to the weights say, as ``save_pretrained`` writes them, counts."""

from __future__ import annotations

import json

import pytest
import torch
from network_drives import check, refused, write_drive
from random_networks import NO_PLUS, Normalised, alive, named, prefixed, random
from safetensors.torch import save_file

HUGGING_FACE = {
    **NO_PLUS,
    "output_stride": 16,
    "backbone": "mobilenet_v2",
    "width": 0.35,
    "dilation_rule": "contracted",
    "padding": "same",
    "encoder_epsilon": 0.01,
    "atrous_rates": (),
    "aspp_pool_first": True,
    "decoder_layers": 0,
}


@pytest.mark.parametrize(
    "stated",
    [
        {"decoder_atrous_rates": [1, 2, 3], "encoder_output_stride": 16},
        {"decoder_atrous_rates": [12, 24, 36], "encoder_output_stride": 8},
    ],
    ids=["rates", "stride"],
)
def test_configuration_beside_the_weights(tmp_path, stated):
    """As `save_pretrained` of segmentation_models_pytorch writes it."""
    network = random(
        4,
        atrous_rates=tuple(stated["decoder_atrous_rates"]),
        output_stride=stated["encoder_output_stride"],
    )
    save_file(named(network), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"encoder_name": "resnet18", **stated}))
    check(tmp_path, "model.safetensors", write_drive(tmp_path, network))


@pytest.mark.filterwarnings("ignore:.timm-. encoders are deprecated")
@pytest.mark.parametrize("encoder", ["efficientnet-b0", "timm-efficientnet-b0", "tu-resnet18"])
@pytest.mark.parametrize("saved", ["folder", "file"])
def test_networks_as_segmentation_models_saves_them(smp, tmp_path, encoder, saved):
    torch.manual_seed(7)
    original = smp.DeepLabV3Plus(
        encoder, encoder_weights=None, classes=4, decoder_channels=32, encoder_output_stride=16
    ).eval()
    alive(original, original.segmentation_head[0])
    if saved == "folder":
        original.save_pretrained(tmp_path / "saved")
        file = "saved/model.safetensors"
    else:
        file = "net.pth"
        torch.save({"state_dict": prefixed("model.", original.state_dict())}, tmp_path / file)
    check(tmp_path, file, write_drive(tmp_path, original))


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"encoder_name": "resnet18", "encoder_depth": 4}, "encoder_depth is 4"),
        ({"encoder_name": "tu-resnetblur50"}, "encoder_name is 'tu-resnetblur50'"),
    ],
)
def test_configurations_of_networks_that_are_not_known(tmp_path, capsys, stated, reason):
    """The weights of these have the names and shapes of a network that computes something else."""
    network = random(1)
    write_drive(tmp_path, network)
    save_file(named(network), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(stated))
    assert reason in refused(tmp_path, "model.safetensors", capsys)


PROCESSOR = {"do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255}
MEAN, STD = [0.3, 0.4, 0.5], [0.2, 0.25, 0.3]


@pytest.mark.parametrize(
    ("processor", "mean", "std"),
    [
        (None, [0.5] * 3, [0.5] * 3),
        ({**PROCESSOR, "image_mean": MEAN, "image_std": STD}, MEAN, STD),
        (
            {
                **PROCESSOR,
                "do_rescale": False,
                "image_mean": [255 * v for v in MEAN],
                "image_std": [255 * v for v in STD],
            },
            MEAN,
            STD,
        ),
        (
            {**PROCESSOR, "do_normalize": False, "image_mean": MEAN, "image_std": STD},
            [0.0] * 3,
            [1.0] * 3,
        ),
    ],
    ids=["none", "values", "bytes", "off"],
)
def test_files_of_hugging_face_next_to_the_weights(tmp_path, processor, mean, std):
    network = random(8, **HUGGING_FACE)
    seen = alive(Normalised(network, mean, std), network.decoder.classify)
    save_file(named(network, "segmentation_head.conv_aspp."), tmp_path / "model.safetensors")
    config = {"model_type": "mobilenet_v2", "output_stride": 16, "layer_norm_eps": 0.01}
    (tmp_path / "config.json").write_text(json.dumps(config))
    if processor:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    report = check(tmp_path, "model.safetensors", write_drive(tmp_path, seen))
    assert report["provenance"]["family"] == "Hugging Face MobileNetV2"


def test_network_as_hugging_face_saves_it(parity, tmp_path):
    transformers = parity("transformers")
    torch.manual_seed(9)
    config = transformers.MobileNetV2Config(num_labels=4, output_stride=16, depth_multiplier=0.35)
    original = transformers.MobileNetV2ForSemanticSegmentation(config).eval()

    class Enlarged(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = original

        def forward(self, x):
            coarse = self.network(x).logits
            return torch.nn.functional.interpolate(coarse, size=x.shape[-2:], mode="bilinear")

    seen = alive(
        Normalised(Enlarged(), MEAN, STD), original.segmentation_head.classifier.convolution
    )
    original.save_pretrained(tmp_path / "saved")
    processor = transformers.MobileNetV2ImageProcessor(image_mean=MEAN, image_std=STD)
    processor.save_pretrained(tmp_path / "saved")
    check(tmp_path, "saved/model.safetensors", write_drive(tmp_path, seen))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", {"model_type": "mobilenet_v2", "hidden_act": "relu"}, "hidden_act is"),
        ("config.json", {"model_type": "mobilenet_v2", "output_stride": 32}, "output_stride is 32"),
        ("config.json", {"model_type": "mobilenet_v2", "layer_norm_eps": "x"}, "epsilon is 'x'"),
        (
            "preprocessor_config.json",
            {"image_mean": 0.5, "image_std": 0.5},
            "image_mean is 0.5 and rescale_factor",
        ),
        (
            "preprocessor_config.json",
            {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 0},
            "rescale_factor 0, expected three numbers and a number above 0",
        ),
    ],
)
def test_files_of_hugging_face_that_say_something_else(tmp_path, capsys, name, content, reason):
    network = random(8, **HUGGING_FACE)
    write_drive(tmp_path, network)
    save_file(named(network, "segmentation_head.conv_aspp."), tmp_path / "model.safetensors")
    (tmp_path / name).write_text(json.dumps(content))
    assert reason in refused(tmp_path, "model.safetensors", capsys)


def test_a_resnet_of_timm_without_its_configuration_is_doubtful(tmp_path, caplog):
    network = random(10, backbone="resnet18", dilation_rule="contracted")
    torch.save(named(network), tmp_path / "net.pth")
    counts = write_drive(tmp_path, network)
    check(tmp_path, "net.pth", counts)
    assert "tu-resnetblur50" in caplog.text
    caplog.clear()
    (tmp_path / "config.json").write_text(json.dumps({"encoder_name": "tu-resnet18"}))
    check(tmp_path, "net.pth", counts)
    assert "tu-resnetblur50" not in caplog.text
