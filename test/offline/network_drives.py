"""Small networks, bags that they are scored on, and the counts that must come out."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from image_files import raw_image
from torch import nn

from deeplab_miou import cli
from deeplab_miou.bags.writer import BagWriter

SIZE = (48, 80)
CLASSES = 4
FRAMES = 3
VOID = 200
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Network(nn.Module):
    """Two convolutions, as a training leaves them: their weights require gradients."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        torch.manual_seed(5)
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.head = nn.Conv2d(12, classes, 1)

    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x)))


def balanced(network):
    """Scale a network's last layer so that each of its classes wins somewhere."""
    with torch.no_grad():
        logits = torch.cat([network(normalised(picture(i))) for i in range(FRAMES)])
        mean, std = logits.mean((0, 2, 3)), logits.std((0, 2, 3))
        network.head.weight /= std.view(-1, 1, 1, 1)
        network.head.bias.copy_((network.head.bias - mean) / std)
    return network.eval()


def picture(index):
    blocks = np.random.default_rng(index).integers(
        0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), np.uint8
    )
    return blocks.repeat(8, 0).repeat(8, 1)


def normalised(image):
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def write_drive(folder, network, margin=1e-3):
    """Write a bag and its label map; return the counts that the network has to get, by NumPy.

    Pixels whose best two classes are nearly equal are void, so that rounding decides nothing.
    """
    counts = None
    with BagWriter(folder / "bag", "mcap") as writer:
        for index in range(FRAMES):
            image = picture(index)
            with torch.inference_mode():
                logits = network(normalised(image))[0].float().numpy()
            if len(logits) == 1:
                logits = np.concatenate([np.zeros_like(logits), logits])
            n = len(logits)
            predicted, ranked = logits.argmax(0), np.sort(logits, axis=0)
            truth = np.roll(predicted, 3, axis=1).astype(np.uint8)
            truth[ranked[-1] - ranked[-2] < margin * logits.std()] = VOID
            if counts is None:
                counts = np.zeros((n, n + 1), np.int64)
            scored = truth != VOID
            np.add.at(counts, (truth[scored], predicted[scored]), 1)
            stamp_ns = (100 + index) * 10**9
            for topic, pixels, encoding in (
                ("/camera/image", image, "rgb8"),
                ("/camera/labels", truth, "mono8"),
            ):
                message = raw_image(pixels, encoding)
                writer.write_image(topic, stamp_ns, "camera", message)
    assert (counts.sum(0)[:-1] > 0).all()
    lines = [f"  - {{name: class{k}, ids: [{k}]}}" for k in range(len(counts))]
    void = f"ignore:\n  - {{name: void, ids: [{VOID}]}}"
    (folder / "map.yaml").write_text("\n".join(["name: test", "classes:", *lines, void]))
    return counts


def evaluate(folder, file, *options):
    """Run the command; return its exit code and the report."""
    code = cli.main(
        [
            *("evaluate", str(folder / "bag"), "--checkpoint", str(folder / file)),
            *("--labels", str(folder / "map.yaml"), "--output", str(folder / "out")),
            *("--quiet", "--device", "cpu", *options),
        ]
    )
    report = folder / "out" / "report.json"
    return code, json.loads(report.read_text()) if report.exists() else None


def check(folder, file, counts, *options):
    code, report = evaluate(folder, file, *options)
    assert code == 0
    assert report["frames"] == FRAMES
    np.testing.assert_array_equal(report["confusion"], counts)
    hits = np.diag(counts)
    iou = hits / (counts.sum(0)[:-1] + counts.sum(1) - hits)
    assert report["miou"] == pytest.approx(iou.mean(), abs=1e-12)
    return report


def refused(folder, file, capsys, *options):
    """Run the command, which has to fail with one line; return that."""
    code, _ = evaluate(folder, file, *options)
    error = capsys.readouterr().err
    assert code == 1
    assert error.count("\n") == 1
    return error


def trace(network, path, example=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.rand(1, 3, *SIZE) if example is None else example
        torch.jit.trace(network, example, check_trace=False).save(str(path))


def script(network, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(path))


def export(network, path):
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, *SIZE),)), path)
