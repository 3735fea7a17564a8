"""The config.json that segmentation_models_pytorch's ``save_pretrained`` writes."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.family.configuration import NOTHING, Stated, read_object
from deeplab_miou.model.checkpoints.family.smp_encoders import TIMM_STEM

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_logger = logging.getLogger(__name__)

_NAME = "config.json"
_RATES = 3
_DEPTH = 5
# Of timm's ResNets, those that differ from torchvision's in nothing that the weights do not show.
_TIMM = "tu-"
_PLAIN_RESNET = re.compile(r"tu-(tv_|wide_|se)?res(net|next)\d+(_\d+(x\d+d)?)?(\..*)?")


def stated(path: Path, weights: Collection[str]) -> Stated:
    """Return what the configuration file next to the weights says.

    Raises:
        ConfigurationError: it is of smp, but does not say what it should, or is of a network that
            is not known.
    """
    config = path.parent / _NAME
    content = read_object(config)
    # Other tools write a file of this name too.
    if "encoder_name" in content:
        return Stated(_architecture(content, config))
    if TIMM_STEM in weights:
        _logger.warning(
            "checkpoint %s: assuming that its encoder is timm's plain ResNet (tu-resnet50 and the "
            "like), but the weights of tu-resnetblur50, tu-resnetaa50 and a few others have the "
            "same names: to be sure, put the %s that save_pretrained writes next to it",
            path,
            _NAME,
        )
    return NOTHING


def _architecture(content: dict[str, object], config: Path) -> dict[str, object]:
    _check_encoder(content, config)
    found: dict[str, object] = {}
    if "decoder_atrous_rates" in content:
        rates = content["decoder_atrous_rates"]
        if not isinstance(rates, list) or len(rates) != _RATES:
            raise ConfigurationError(
                f"{config}: decoder_atrous_rates is {rates!r:.80}, expected three numbers"
            )
        found["atrous_rates"] = tuple(rates)
    if "encoder_output_stride" in content:
        found["output_stride"] = content["encoder_output_stride"]
    if content.get("in_channels", 3) != 3:  # noqa: PLR2004 - red, green and blue
        raise ConfigurationError(
            f"{config}: in_channels is {content['in_channels']!r}; only RGB images are evaluated"
        )
    return found


def _check_encoder(content: dict[str, object], config: Path) -> None:
    depth = content.get("encoder_depth", _DEPTH)
    if depth != _DEPTH:
        raise ConfigurationError(
            f"{config}: encoder_depth is {depth!r:.40}, but only {_DEPTH} is supported; export "
            "the network as TorchScript or ONNX"
        )
    name = content["encoder_name"]
    if isinstance(name, str) and name.startswith(_TIMM) and not _PLAIN_RESNET.fullmatch(name):
        raise ConfigurationError(
            f"{config}: encoder_name is {name!r:.60}, but of timm's encoders only plain ResNets "
            "are supported; export the network as TorchScript or ONNX"
        )
