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
ORIGINALS = {
    # bubbliiiing/deeplabv3-plus-pytorch: nets.deeplabv3_plus.DeepLab(7, backbone, False, stride)
    "bubbliiiing": {"mobilenet_os16": 16, "mobilenet_os8": 8},
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
    return drawn("image", (1, 3, 97, 161)) * 10


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
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
