"""Encoders: an image in, low-level features and deep features at the output stride out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.model.network.hrnet import HRNET_WIDTHS, HRNet
from deeplab_miou.model.network.mobile import MobileNet
from deeplab_miou.model.network.resnet import RESNET_BLOCKS, ResNet
from deeplab_miou.model.network.xception import XCEPTIONS, Xception

if TYPE_CHECKING:
    from deeplab_miou.model.network.architecture import Architecture


def build_backbone(architecture: Architecture) -> MobileNet | ResNet | Xception | HRNet:
    """Return the encoder that an architecture asks for, with random weights."""
    if architecture.backbone in RESNET_BLOCKS:
        return ResNet(architecture)
    if architecture.backbone in XCEPTIONS:
        return Xception(architecture)
    if architecture.backbone in HRNET_WIDTHS:
        return HRNet(architecture)
    return MobileNet(architecture)
