"""Our networks against logits that the families' own code gave for the same made-up weights.

`data/NAME.json.gz` has the original's keys and shapes, `data/NAME_logits.json.gz` its logits: for
each variant those of every 16th pixel of an image. The weights and the image are drawn here as they
were there, so that neither has to be kept.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_miou.model.checkpoints import load as checkpoints

DATA = Path(__file__).parent / "data"
STEP = 16
# smp takes multiples of 16 only.
SIZE = (96, 160)
ORIGINALS = {
    # bubbliiiing/deeplabv3-plus-pytorch: nets.deeplabv3_plus.DeepLab(7, backbone, False, stride)
    "bubbliiiing": {"mobilenet_os16": 16, "mobilenet_os8": 8},
    # torchvision 0.28.0: deeplabv3_resnet50(num_classes=7, aux_loss=True)
    "torchvision_deeplabv3": {"resnet50_aux": 8},
    # VainF/DeepLabV3Plus-Pytorch: network.modeling._load_model("deeplabv3", backbone, 7, stride)
    "vainf_deeplabv3": {"mobilenet_os16": 16, "mobilenet_os8": 8, "resnet50_os16": 16},
    # segmentation_models_pytorch 0.6.0: DeepLabV3(encoder, classes=7, encoder_output_stride=stride)
    "smp_deeplabv3": {
        "resnet18_os8": 8,
        "resnet18_os16": 16,
        "mobilenet_v2_os8": 8,
        "mobilenet_v2_os16": 16,
    },
    # The same: DeepLabV3Plus or DeepLabV3, with decoder_channels=32
    "smp_encoders": {
        "efficientnet_b0_os16": 16,
        "efficientnet_b0_os8": 8,
        "efficientnet_b1_os16": 16,
        "timm_efficientnet_b0_os16": 16,
        "timm_tf_efficientnet_lite0_os16": 16,
        "resnext50_32x4d_os16": 16,
        "se_resnet50_os16": 16,
        "se_resnext50_32x4d_os16": 16,
        "tu_resnet18_os16": 16,
        "tu_resnet18_os8": 8,
    },
    "smp_encoders_deeplabv3": {"efficientnet_b0_os8": 8},
    # As above: _load_model("deeplabv3plus" or "deeplabv3", backbone, 7, stride)
    "vainf_backbones": {"xception_os16": 16, "hrnetv2_32": None},
    "vainf_backbones_deeplabv3": {"xception_os16": 16, "hrnetv2_32": None},
    "bubbliiiing_xception": {"xception_os16": 16, "xception_os8": 8},
    # torchvision 0.28.0: deeplabv3_mobilenet_v3_large(num_classes=7, aux_loss=True)
    "torchvision_mobilenet_v3": {"mobilenet_v3_large_aux": None},
    # transformers 4.57.1: MobileNetV2ForSemanticSegmentation(MobileNetV2Config(num_labels=7,
    # depth_multiplier, output_stride)), its logits enlarged as for its loss
    "hugging_face": {"mobilenet_v2_1.0_os8": 8, "mobilenet_v2_0.35_os16": 16},
}
CASES = [(name, variant) for name, variants in ORIGINALS.items() for variant in variants]


def drawn(key, shape):
    """Draw a tensor that keeps features at about their scale, the same wherever it is drawn."""
    values = np.random.default_rng(zlib.crc32(key.encode())).random(shape, np.float64)
    if key.endswith("running_var"):
        low, high = 0.5, 1.5
    elif len(shape) == 4:
        high = (4.5 / np.prod(shape[1:])) ** 0.5
        low = -high
    elif key.endswith("weight"):
        low, high = 0.4, 1.1
    else:
        low, high = -0.4, 0.4
    return torch.from_numpy((low + (high - low) * values).astype(np.float32))


def image():
    return drawn("image", (1, 3, *SIZE)) * 10


def unpacked(name):
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_logits_equal_those_of_the_original(tmp_path, name, variant):
    weights = {key: drawn(key, shape) for key, shape in unpacked(name)[variant].items()}
    torch.save(weights, tmp_path / "net.pth")
    network = checkpoints.load(tmp_path / "net.pth", output_stride=ORIGINALS[name][variant]).network
    expected = torch.tensor(unpacked(f"{name}_logits")[variant])
    with torch.inference_mode():
        logits = network(image())[0, :, ::STEP, ::STEP]
    assert expected.std() > 0.1, "logits too small for the comparison to mean anything"
    # HRNet adds up many branches: its logits are large.
    scale = max(1.0, float(expected.std()))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4 * scale)


def test_older_names_of_smp_are_the_same_network(tmp_path):
    """Its decoder was a plain sequence before."""
    older = {"decoder.aspp": "decoder.0", "decoder.conv": "decoder.1", "decoder.bn": "decoder.2"}
    weights, renamed = {}, {}
    for key, shape in unpacked("smp_deeplabv3")["resnet18_os8"].items():
        weights[key] = drawn(key, shape)
        first = ".".join(key.split(".")[:2])
        renamed[older.get(first, first) + key[len(first) :]] = weights[key]
    assert "decoder.0.convs.0.0.weight" in renamed
    networks = []
    for name, content in (("new.pth", weights), ("old.pth", renamed)):
        torch.save(content, tmp_path / name)
        networks.append(checkpoints.load(tmp_path / name).network)
    with torch.inference_mode():
        assert torch.equal(*(network(image()) for network in networks))
