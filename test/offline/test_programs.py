"""The whole way: programs as the ordinary tools save them, evaluated, counted by NumPy."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou import cli
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.images.messages import RawImage
from deeplab_miou.model.inference.onnx_backend import missing_packages

HEIGHT, WIDTH, CLASSES, FRAMES = 64, 96, 5, 4
SECOND = 1_000_000_000
MEAN, STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

needs_onnx = pytest.mark.skipif(
    bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}"
)


class Network(nn.Module):
    """Logits of the image's size, balanced so that every class is predicted."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        torch.manual_seed(classes)
        self.features = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.classify = nn.Conv2d(8, classes, 1)
        with torch.no_grad():
            batch = torch.cat([normalised(image) for image in images()])
            logits = Network.forward(self, batch)
            self.classify.bias -= logits.mean((0, 2, 3))
            self.classify.weight /= logits.std((0, 2, 3))[:, None, None, None]
            self.classify.bias /= logits.std((0, 2, 3))

    def forward(self, images):
        logits = self.classify(torch.relu(self.features(images)))
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear")


class InDictionary(Network):
    def forward(self, images):
        logits = self.classify(torch.relu(self.features(images)))
        logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear")
        return {"aux": logits[:, :2], "out": logits}


class Labels(Network):
    def forward(self, images):
        return super().forward(images).argmax(1)


class LabelsAndLogits(Network):
    def forward(self, images):
        logits = super().forward(images)
        return logits.argmax(1), logits


class ChannelsLast(Network):
    def forward(self, images):
        return super().forward(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Bytes(Network):
    """Normalises by itself."""

    def forward(self, images):
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
        return super().forward((images.float() / 255 - mean) / std)


class Probability(Network):
    def forward(self, images):
        return torch.sigmoid(super().forward(images))


class OneSize(Network):
    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1, CLASSES, HEIGHT, WIDTH))

    def forward(self, images):
        return super().forward(images) + self.offset


def mono8(ids):
    return RawImage(*ids.shape, "mono8", is_bigendian=False, step=ids.shape[1], data=ids.tobytes())


def images():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


def normalised(image):
    pixels = (image / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()


def logits_of(network, image):
    """Return (n, H, W) logits by plain PyTorch; a single channel is that of the second class."""
    with torch.inference_mode():
        (logits,) = Network.forward(network, normalised(image))
    return torch.cat((torch.zeros_like(logits), logits)) if len(logits) == 1 else logits


@pytest.fixture
def score(tmp_path):
    """Write the bag that a network predicts, evaluate it with a file, and compare the counts."""

    def run(network, file, *options, code=cli.OK):
        names = ["background", "thing"] if network.classify.out_channels == 1 else list("abcde")
        rows = "".join(f"  - {{name: {name}, ids: [{k}]}}\n" for k, name in enumerate(names))
        (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")
        expected = np.zeros((len(names), len(names) + 1), np.int64)
        bag = tmp_path / f"bag{len(list(tmp_path.glob('bag*')))}"
        with BagWriter(bag) as writer:
            for k, image in enumerate(images()):
                logits = logits_of(network, image)
                prediction = logits.argmax(0).numpy().astype(np.uint8)
                best = logits.topk(2, dim=0).values
                truth = np.roll(prediction, 1, axis=1)
                # The order of additions decides there.
                truth[((best[0] - best[1]) < 1e-2 * best.abs().max()).numpy()] = 255
                raw = RawImage(
                    HEIGHT, WIDTH, "rgb8", is_bigendian=False, step=3 * WIDTH, data=image.tobytes()
                )
                writer.write_image("/camera/image", k * SECOND, "", raw)
                writer.write_image("/camera/labels", k * SECOND, "", mono8(truth))
                counted = truth != 255
                np.add.at(expected, (truth[counted], prediction[counted]), 1)
        assert (expected.sum(axis=1) > 0).all()
        output = tmp_path / "output"
        arguments = ["evaluate", bag, "--checkpoint", file, "--labels", tmp_path / "map.yaml"]
        arguments += ["--output", output, "--quiet", "--device", "cpu", *options]
        assert cli.main(list(map(str, arguments))) == code
        if code != cli.OK:
            return None
        report = json.loads((output / "report.json").read_text())
        assert report["frames"] == FRAMES
        assert report["confusion"] == expected.tolist()
        return report

    return run


def trace(network, path, dtype=torch.float32):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.rand(1, 3, HEIGHT, WIDTH).to(dtype)
        torch.jit.trace(network.to(dtype).eval(), example, strict=False).save(str(path))
    network.float()
    return path


def test_a_trace_whose_weights_require_gradients(score, tmp_path):
    network = Network()
    score(network, trace(network, tmp_path / "net.pt"))


def test_a_script_that_returns_a_dictionary(score, tmp_path):
    network = InDictionary()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(tmp_path / "net.pt"))
    score(network, tmp_path / "net.pt")


def test_an_export(score, tmp_path):
    network = Network()
    program = torch.export.export(network, (torch.rand(1, 3, HEIGHT, WIDTH),))
    torch.export.save(program, tmp_path / "net.pt2")
    score(network, tmp_path / "net.pt2")


def test_a_trace_that_works_at_one_size(score, tmp_path, capsys):
    network = OneSize()
    path = trace(network, tmp_path / "net.pt")
    score(network, path, "--input-size", f"{HEIGHT}x{WIDTH}")
    score(network, path, code=cli.WRONG)
    assert "name it with --input-size" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_trace_in_another_precision(score, tmp_path, dtype):
    network = Network()
    path = trace(network, tmp_path / "net.pt", dtype)
    score(network.to(dtype).float(), path)


@pytest.mark.parametrize("network", [Network, Probability])
def test_a_binary_network_of_one_channel(score, tmp_path, network):
    network = network(classes=1)
    report = score(network, trace(network, tmp_path / "net.pt"))
    assert 0 < report["miou"] < 1


def test_a_binary_network_needs_two_classes(tmp_path, capsys):
    path = trace(Network(classes=1), tmp_path / "net.pt")
    (tmp_path / "map.yaml").write_text("classes:\n  - {name: thing, ids: [1]}\n")
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_image("/camera/image", 0, "", mono8(images()[0, ..., 0]))
        writer.write_image("/camera/labels", 0, "", mono8(images()[0, ..., 0]))
    arguments = ["evaluate", tmp_path / "bag", "--checkpoint", path, "--labels"]
    assert cli.main(list(map(str, [*arguments, tmp_path / "map.yaml"]))) == cli.WRONG
    assert "give one with two classes, background first" in capsys.readouterr().err


def test_labels_in_place_of_logits(score, tmp_path):
    network = Labels()
    score(network, trace(network, tmp_path / "net.pt"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda network: network.classify.bias.fill_(float("nan")),
        lambda network: network.features.weight.fill_(float("inf")),
    ],
)
def test_a_diverged_network_is_no_score(score, tmp_path, capsys, spoil):
    network = Network()
    sane = Network()
    with torch.no_grad():
        spoil(network)
    score(sane, trace(network, tmp_path / "net.pt"), code=cli.WRONG)
    assert "not finite (NaN or infinity)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mean", "nan,0,0"], "three finite numbers"),
        (["--std", "inf,1,1"], "three finite numbers"),
        (["--std", "0,1,1"], "std above 0"),
        (["--mean", "123.675,116.28,103.53"], "divide both by 255"),
        (["--std", "58.395,57.12,57.375"], "divide both by 255"),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(score, tmp_path, capsys, options, words):
    network = Network()
    score(network, trace(network, tmp_path / "net.pt"), *options, code=cli.WRONG)
    assert words in capsys.readouterr().err


def test_the_ordinary_calls_of_pytorch_count_the_same(score, tmp_path):
    network = Network()
    path = trace(network, tmp_path / "net.pt")
    assert score(network, path, "--backend", "eager")["provenance"]["backend"] == "eager"


def test_class_weights_change_the_weighted_mean_alone(score, tmp_path):
    network = Network()
    path = trace(network, tmp_path / "net.pt")
    plain = score(network, path)
    weighted = score(network, path, "--class-weights", "0,1,1,2,1e308")
    iou = np.array([each["iou"] for each in plain["classes"]])
    assert weighted["miou"] == plain["miou"] == pytest.approx(iou.mean())
    assert weighted["weighted_miou"] == pytest.approx(iou[4])
    weighted = score(network, path, "--class-weights", "0,1,1,2,1")
    assert weighted["weighted_miou"] == pytest.approx(iou @ [0, 1, 1, 2, 1] / 5)
    score(network, path, "--class-weights", "1,1", code=cli.WRONG)


def export_onnx(network, path, example, **options):
    options |= {"dynamo": True, "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (example,), str(path), **options)
    return path


EXAMPLE = torch.rand(1, 3, HEIGHT, WIDTH)


@needs_onnx
@pytest.mark.parametrize(
    ("network", "example"),
    [
        (Network(), EXAMPLE),
        (Labels(), EXAMPLE),
        (LabelsAndLogits(), EXAMPLE),
        (ChannelsLast(), EXAMPLE.permute(0, 2, 3, 1).contiguous()),
        (Bytes(), (255 * EXAMPLE).to(torch.uint8)),
    ],
)
def test_onnx_files(score, tmp_path, network, example):
    score(network, export_onnx(network, tmp_path / "net.onnx", example))


@needs_onnx
def test_a_graph_that_normalises_takes_no_mean(score, tmp_path, capsys):
    network = Bytes()
    path = export_onnx(network, tmp_path / "net.onnx", (255 * EXAMPLE).to(torch.uint8))
    score(network, path, "--mean", "0.5,0.5,0.5", code=cli.WRONG)
    assert "normalises by itself" in capsys.readouterr().err


@needs_onnx
def test_weights_beside_the_graph_belong_to_the_checksum(score, tmp_path):
    digests = set()
    network = Network()
    for k in range(2):
        (tmp_path / str(k)).mkdir()
        path = export_onnx(network, tmp_path / str(k) / "net.onnx", EXAMPLE, external_data=True)
        assert (path.parent / "net.onnx.data").is_file()
        # Two trainings of one network: the graph is the same.
        path.write_bytes((tmp_path / "0" / "net.onnx").read_bytes())
        digests.add(score(network, path)["provenance"]["checkpoint_sha256"])
        with torch.no_grad():
            network.features.weight += 0.05 * torch.randn_like(network.features.weight)
    assert len(digests) == 2
