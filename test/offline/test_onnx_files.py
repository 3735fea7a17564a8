"""The whole way of an ONNX file: written by PyTorch's exporters, scored by the command."""

from __future__ import annotations

import shutil
import warnings

import pytest
import torch
from network_drives import (
    MEAN,
    SIZE,
    STD,
    Network,
    balanced,
    check,
    evaluate,
    refused,
    write_drive,
)

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


def export(network, path, example=None, *, dynamo=True, **options):
    example = torch.rand(1, 3, *SIZE) if example is None else example
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (example,), str(path), dynamo=dynamo, verbose=False, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"external_data": False},
        {"external_data": True},
        {"external_data": False, "opset_version": 22},
        {"dynamo": False, "opset_version": 11},
        {
            "dynamo": False,
            "opset_version": 17,
            "input_names": ["image"],
            "dynamic_axes": {"image": {0: "batch", 2: "height", 3: "width"}},
        },
        {"dynamic_shapes": ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)},
    ],
    ids=str,
)
def test_files_of_both_exporters_are_scored(tmp_path, options):
    network = balanced(Network())
    export(network, tmp_path / "net.onnx", **options)
    check(tmp_path, "net.onnx", write_drive(tmp_path, network))


class Deployed(torch.nn.Module):
    """A network with what exports for deployment put around it."""

    def __init__(self, network):
        super().__init__()
        self.network = network


class Pixels(Deployed):
    def forward(self, x: torch.Tensor):
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
        return self.network((x.float() / 255 - mean) / std)


class ChannelsLast(Deployed):
    def forward(self, x: torch.Tensor):
        return self.network(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ChannelsLastPixels(Pixels):
    def forward(self, x: torch.Tensor):
        return super().forward(x.permute(0, 3, 1, 2)).argmax(1)


class LabelsFirst(Deployed):
    def forward(self, x: torch.Tensor):
        logits = self.network(x)
        return logits.argmax(1, keepdim=True), logits


class Labels(Deployed):
    def forward(self, x: torch.Tensor):
        return self.network(x).argmax(1, keepdim=True).to(torch.uint8)


class Sigmoid(Deployed):
    def forward(self, x: torch.Tensor):
        return self.network(x).sigmoid()


BYTES = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("kind", "example", "classes", "output"),
    [
        (Pixels, BYTES, 4, "logits"),
        (ChannelsLast, torch.rand(1, *SIZE, 3), 4, "logits"),
        (ChannelsLastPixels, BYTES.permute(0, 2, 3, 1).contiguous(), 4, "label map"),
        (LabelsFirst, None, 4, "logits"),
        (Labels, None, 4, "label map"),
        (Deployed, None, 1, "one logit"),
        (Sigmoid, None, 1, "one probability"),
    ],
)
def test_whatever_a_graph_takes_and_returns_is_read(tmp_path, kind, example, classes, output):
    network = balanced(Network(classes))
    program = network if kind is Deployed else kind(network)
    export(program, tmp_path / "net.onnx", example)
    report = check(tmp_path, "net.onnx", write_drive(tmp_path, network))
    assert report["provenance"]["output"] == output


def test_half_precision_graphs_get_halves(tmp_path):
    network = balanced(Network()).half()
    export(network, tmp_path / "net.onnx", torch.rand(1, 3, *SIZE).half())
    check(tmp_path, "net.onnx", write_drive(tmp_path, network.float(), margin=0.05))


def test_mean_of_a_graph_that_normalises_itself_is_refused(tmp_path, capsys):
    network = balanced(Network())
    export(Pixels(network), tmp_path / "net.onnx", BYTES)
    write_drive(tmp_path, network)
    error = refused(tmp_path, "net.onnx", capsys, "--mean=0.5,0.5,0.5")
    assert "normalises them itself: mean and std cannot be set" in error


def test_data_beside_a_graph_is_part_of_the_network(tmp_path, capsys):
    """Two trainings share the graph and differ in their data; without it there is no network."""
    network = balanced(Network())
    counts = write_drive(tmp_path, network)
    for name, weights in (("a", network.stem.weight), ("b", network.stem.weight.flip(2))):
        folder = tmp_path / name
        folder.mkdir()
        with torch.no_grad():
            network.stem.weight.copy_(weights.clone())
        export(network, folder / "net.onnx", external_data=True)
    assert (tmp_path / "a/net.onnx").read_bytes() == (tmp_path / "b/net.onnx").read_bytes()
    first = check(tmp_path, "a/net.onnx", counts)["provenance"]["checkpoint_sha256"]
    code, report = evaluate(tmp_path, "b/net.onnx")
    assert code == 0
    assert report["confusion"] != counts.tolist()
    assert report["provenance"]["checkpoint_sha256"] != first
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    same = check(tmp_path, "c/net.onnx", counts)["provenance"]["checkpoint_sha256"]
    assert same == first
    (tmp_path / "a/net.onnx.data").unlink()
    assert "'net.onnx.data', which is not next to it" in refused(tmp_path, "a/net.onnx", capsys)


def test_data_elsewhere_is_refused(tmp_path, capsys):
    network = balanced(Network())
    write_drive(tmp_path, network)
    export(network, tmp_path / "net.onnx", external_data=True)
    model = onnx.load(str(tmp_path / "net.onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../net.onnx.data"
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    assert "expected a file next to it" in refused(tmp_path, "net.onnx", capsys)


class Two(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor):
        return x + y


@pytest.mark.parametrize(
    ("network", "examples", "said"),
    [
        (Two(), [torch.rand(1, 3, 8, 8)] * 2, "has 2 inputs (x, y), expected one"),
        (torch.nn.Conv2d(4, 4, 1), [torch.rand(1, 4, 8, 8)], "images of shape (1, 4, 8, 8)"),
        (torch.nn.Conv2d(3, 4, 1), [torch.rand(2, 3, 8, 8)], "images of shape (2, 3, 8, 8)"),
        (torch.nn.Flatten(), [torch.rand(1, 3, 8, 8)], "output is torch.float32 (1, 192)"),
    ],
)
def test_graphs_that_segment_no_image_are_refused(tmp_path, capsys, network, examples, said):
    write_drive(tmp_path, balanced(Network()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, tuple(examples), str(tmp_path / "net.onnx"), verbose=False)
    error = refused(tmp_path, "net.onnx", capsys)
    assert said in error
    assert "--input-size" not in error
