"""The config.json that segmentation_models_pytorch's ``save_pretrained`` writes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "config.json"
_MOST_BYTES = 1 << 20
_RATES = 3
_DEPTH = 5
# Of timm's ResNets, those that differ from torchvision's in nothing that the weights do not show.
_TIMM = "tu-"
_PLAIN_RESNET = re.compile(r"tu-(tv_|wide_|se)?res(net|next)\d+(_\d+(x\d+d)?)?(\..*)?")


def files(path: Path) -> tuple[Path, ...]:
    """Return the configuration next to a file of weights, if there is one."""
    config = path.parent / _NAME
    return (config,) if config.is_file() else ()


def read(path: Path) -> dict[str, object]:
    """Return the fields of `Architecture` from the configuration next to a file of weights.

    Raises:
        ConfigurationError: it is of smp, but does not say what it should.
    """
    for config in files(path):
        try:
            with config.open(encoding="utf-8") as file:
                content = json.loads(file.read(_MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        # Other tools write a file of this name too.
        if isinstance(content, dict) and "encoder_name" in content:
            return _stated(content, config)
    return {}


def _stated(content: dict[str, object], config: Path) -> dict[str, object]:
    _check_encoder(content, config)
    stated: dict[str, object] = {}
    if "decoder_atrous_rates" in content:
        rates = content["decoder_atrous_rates"]
        if not isinstance(rates, list) or len(rates) != _RATES:
            raise ConfigurationError(
                f"{config}: decoder_atrous_rates is {rates!r:.80}, expected three numbers"
            )
        stated["atrous_rates"] = tuple(rates)
    if "encoder_output_stride" in content:
        stated["output_stride"] = content["encoder_output_stride"]
    if content.get("in_channels", 3) != 3:  # noqa: PLR2004 - red, green and blue
        raise ConfigurationError(
            f"{config}: in_channels is {content['in_channels']!r}; only RGB images are evaluated"
        )
    return stated


def _check_encoder(content: dict[str, object], config: Path) -> None:
    depth = content.get("encoder_depth", _DEPTH)
    if depth != _DEPTH:
        raise ConfigurationError(
            f"{config}: encoder_depth is {depth!r:.40}, of which only {_DEPTH} is known; export "
            "the network as TorchScript or ONNX"
        )
    name = content["encoder_name"]
    if isinstance(name, str) and name.startswith(_TIMM) and not _PLAIN_RESNET.fullmatch(name):
        raise ConfigurationError(
            f"{config}: encoder_name is {name!r:.60}; of timm's encoders only plain ResNets are "
            "known; export the network as TorchScript or ONNX"
        )
