"""Small networks with random weights, by the names that a family's files give them."""

from __future__ import annotations

import torch
from network_drives import FRAMES, normalised, picture

from deeplab_miou.model.checkpoints import families
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build

# A small network of segmentation_models_pytorch: DeepLabV3Plus("resnet18", decoder_channels=16).
SMP = Architecture(
    num_classes=4,
    backbone="resnet18",
    atrous_rates=(12, 24, 36),
    aspp_width=16,
    aspp_convolution="separable",
    aspp_refine=True,
    low_width=48,
    decoder_width=16,
    decoder_convolution="separable",
    concatenation="aspp_first",
    align_corners=True,
)
KEY = "decoder.aspp.0.convs.0.0.weight"
PLAIN = {"aspp_convolution": "dense", "aspp_refine": False, "decoder_convolution": "dense"}
NO_PLUS = {"output_stride": 8, "low_width": 0, "align_corners": False, **PLAIN}


class Normalised(torch.nn.Module):
    """A network whose images come normalised as `write_drive` does, changed to what it expects."""

    def __init__(self, network, mean, std, *, bgr=False):
        super().__init__()
        self.network, self.bgr = network, bgr
        self.scale = [(torch.tensor(v)).view(1, 3, 1, 1) for v in (mean, std)]

    def forward(self, x):
        usual = [
            torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        ]
        x = (x * usual[1] + usual[0] - self.scale[0]) / self.scale[1]
        return self.network(x.flip(1) if self.bgr else x)


def random(seed, **changes):
    """Return a network whose classes all win somewhere, whatever the seed."""
    torch.manual_seed(seed)
    network = build(Architecture(**(SMP.to_dict() | changes)))
    return alive(network, network.decoder.classify)


def alive(network, head):
    """Give each norm the drive's statistics, and each class pixels; `head` is the last layer."""
    images = torch.cat([normalised(picture(index)) for index in range(FRAMES)])
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.uniform_(-0.3, 0.3)
                module.momentum = 1.0  # what comes now is all that counts
        network.train()
        network(images)
        logits = network.eval()(images)
        mean, std = logits.mean((0, 2, 3)), logits.std((0, 2, 3))
        # Without it a network is a constant, of which the rounding is enlarged.
        assert (logits.std(0).mean((1, 2)) > 0.05 * std).all(), "it does not see the pictures"
        head.weight /= std.view(-1, 1, 1, 1)
        head.bias.copy_((head.bias - mean) / std)
    return network


def named(network, signature=KEY):
    """Return a network's weights by the names of the family that has a signature."""
    family = families.recognize([signature], "x")
    layout = family.layout(network.architecture)
    weights = {}
    for key, value in network.state_dict().items():
        layer, _, leaf = key.rpartition(".")
        weights[f"{layout[layer]}.{leaf}"] = value.clone()
    return weights


def prefixed(prefix, weights):
    return {prefix + key: value for key, value in weights.items()}


def folder_of(folder, name):
    (folder / name).mkdir(exist_ok=True)
    return folder / name
