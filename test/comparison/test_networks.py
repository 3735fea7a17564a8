"""The whole way of two networks on a bag: files that torch wrote, the command, counts by NumPy."""

import json

import numpy as np
import pytest
import torch
from network_drives import FRAMES, Network, balanced, normalised, picture, trace, write_drive

from deeplab_miou import cli, exit_codes


def predict(network):
    with torch.inference_mode():
        return np.stack(
            [network(normalised(picture(k)))[0].numpy().argmax(0) for k in range(FRAMES)]
        )


def iou_of(counts):
    hits = np.diag(counts)
    return hits / (counts.sum(0)[:-1] + counts.sum(1) - hits)


def test_two_networks_on_a_bag(tmp_path):
    a = balanced(Network())
    # The same network, which has learnt to tell two classes the other way round.
    b = balanced(Network())
    with torch.no_grad():
        for parameter in b.head.parameters():
            parameter[:2] = parameter[:2].flip(0)
    counts = write_drive(tmp_path, a)
    for name, network in (("a.pt", a), ("b.pt", b)):
        trace(network, tmp_path / name)
    words = [str(tmp_path / name) for name in ("a.pt", "b.pt", "bag")]
    words += ["--labels", str(tmp_path / "map.yaml"), "--device", "cpu"]
    assert cli.main(["compare", *words, "--output", str(tmp_path / "c")]) == exit_codes.OK
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    swapped = counts[:, [1, 0, 2, 3, 4]]
    assert found["miou_a"] == pytest.approx(iou_of(counts).mean())
    assert found["miou_b"] == pytest.approx(iou_of(swapped).mean())
    # B calls 0 what A calls 1: right where the truth is 0 and A said 1, or the other way round.
    right = [int(counts[0, 1]), int(counts[1, 0]), 0, 0]
    wrong = [int(counts[0, 0]), int(counts[1, 1]), 0, 0]
    assert [each["became_right"] for each in found["classes"]] == right
    assert [each["became_wrong"] for each in found["classes"]] == wrong
    assert found["disagreement"] == pytest.approx(np.mean(predict(a) <= 1), abs=2e-3)
    assert found["a"]["name"] == "a.pt"
    assert found["b"]["provenance"]["checkpoint"] == "b.pt"
    assert (tmp_path / "c" / "compare.html").read_text().count("data:image/jpeg") == len(
        found["became_worse"] + found["became_better"]
    )
