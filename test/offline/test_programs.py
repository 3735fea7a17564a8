"""The whole way of a program: written by the ordinary tool, scored by the command."""

from __future__ import annotations

import re
import warnings
import zipfile

import numpy as np
import pytest
import torch
from network_drives import (
    FRAMES,
    SIZE,
    Network,
    balanced,
    check,
    evaluate,
    export,
    normalised,
    picture,
    refused,
    script,
    trace,
    write_drive,
)

from deeplab_miou import cli
from deeplab_miou.exit_codes import USAGE
from deeplab_miou.model.checkpoints.load import Preprocessing, save
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build


class ByName(Network):
    """torchvision's way."""

    def forward(self, x: torch.Tensor):
        features = torch.relu(self.stem(x))
        return {"aux": features[:, :6], "out": self.head(features)}


class InPair(Network):
    def forward(self, x: torch.Tensor):
        logits = self.head(torch.relu(self.stem(x)))
        return logits, logits[:, :, ::2, ::2]


class LabelsFirst(Network):
    def forward(self, x: torch.Tensor):
        logits = self.head(torch.relu(self.stem(x)))
        return logits.argmax(1), logits


class MaxOfAll(Network):
    """The largest logit and its class."""

    def forward(self, x: torch.Tensor):
        largest, labels = self.head(torch.relu(self.stem(x))).max(1)
        return largest, labels


class Argmax(Network):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))).argmax(1)


class ArgmaxAsFloat(Network):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))).argmax(1, keepdim=True).float()


class ChannelsLast(Network):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))).permute(0, 2, 3, 1)


class Softmax(Network):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))).softmax(1)


class Binary(Network):
    def __init__(self):
        super().__init__(1)


class Sigmoid(Binary):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))).sigmoid()


class SqueezedSigmoid(Binary):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))).sigmoid().squeeze(1)


class Mask(Binary):
    def forward(self, x: torch.Tensor):
        return self.head(torch.relu(self.stem(x))) > 0


def same_weights(kind, network):
    other = kind().eval()
    other.load_state_dict(network.state_dict())
    return other


@pytest.mark.parametrize("save", [script, export])
@pytest.mark.parametrize(
    ("kind", "output"),
    [
        (InPair, "logits"),
        (LabelsFirst, "logits"),
        (ChannelsLast, "logits"),
        (Softmax, "probabilities"),
        (MaxOfAll, "label map"),
        (Argmax, "label map"),
        (ArgmaxAsFloat, "label map"),
        (Binary, "one logit"),
        (Sigmoid, "one probability"),
        (SqueezedSigmoid, "one probability"),
        (Mask, "label map"),
    ],
)
def test_whatever_a_program_returns_is_read(tmp_path, save, kind, output):
    network = balanced(Binary() if issubclass(kind, Binary) else Network())
    save(same_weights(kind, network), tmp_path / "net.pt")
    counts = write_drive(tmp_path, network)
    report = check(tmp_path, "net.pt", counts)
    assert report["provenance"]["output"] == output


@pytest.mark.parametrize("save", [script, export])
def test_the_main_output_of_a_dictionary_is_scored_and_the_other_named(tmp_path, save, caplog):
    network = balanced(Network())
    save(same_weights(ByName, network), tmp_path / "net.pt")
    check(tmp_path, "net.pt", write_drive(tmp_path, network))
    assert "output out is scored, aux torch.float32 (1, 6, " in caplog.text


@pytest.mark.parametrize("kind", [Binary, Sigmoid])
def test_a_binary_network_needs_two_classes(tmp_path, capsys, kind):
    network = balanced(Binary())
    trace(same_weights(kind, network), tmp_path / "net.pt")
    write_drive(tmp_path, network)
    one = (
        "name: one\nclasses:\n  - {name: thing, ids: [1]}\nignore:\n  - {name: rest, ids: [0, 200]}"
    )
    (tmp_path / "map.yaml").write_text(one)
    error = refused(tmp_path, "net.pt", capsys)
    assert "one channel" in error
    assert "background first" in error


def test_a_probability_that_was_none_fails_its_frames(tmp_path):
    """The sign of one channel shows on real images only: better no score than a wrong one."""

    class Late(Binary):
        def forward(self, x: torch.Tensor):
            logits = self.head(torch.relu(self.stem(x)))
            return logits.sigmoid() + int(x.shape[2] < 60) * 2.0

    network = balanced(Binary())
    script(same_weights(Late, network), tmp_path / "net.pt")
    write_drive(tmp_path, network)
    code, report = evaluate(tmp_path, "net.pt")
    assert code == 4
    assert report["accounting"]["images"]["dropped"] == {"inference_failed": FRAMES}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("freeze", [False, True])
def test_half_precision_programs_get_what_they_take(tmp_path, dtype, freeze):
    network = balanced(Network()).requires_grad_(requires_grad=False).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.trace(network, torch.rand(1, 3, *SIZE).to(dtype), check_trace=False)
        (torch.jit.freeze(program) if freeze else program).save(str(tmp_path / "net.pt"))
    counts = write_drive(tmp_path, network.float(), margin=0.2)
    report = check(tmp_path, "net.pt", counts)
    names = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}
    assert report["provenance"]["precision"] == names[dtype]


class Fixed(Network):
    """Sizes as Python integers, which a trace keeps as constants."""

    def forward(self, x: torch.Tensor):
        size = [int(side) for side in x.shape[-2:]]
        features = torch.relu(self.stem(x))
        pooled = torch.nn.functional.avg_pool2d(features, 8)
        return self.head(features + torch.nn.functional.interpolate(pooled, size, mode="bilinear"))


def test_a_program_of_one_size_needs_it_said(tmp_path, capsys):
    network = balanced(Fixed())
    trace(network, tmp_path / "net.pt")
    counts = write_drive(tmp_path, network)
    assert "state it with --input-size" in refused(tmp_path, "net.pt", capsys)
    check(tmp_path, "net.pt", counts, "--input-size", f"{SIZE[0]}x{SIZE[1]}")
    export(network, tmp_path / "net.pt2")
    check(tmp_path, "net.pt2", counts)
    error = refused(tmp_path, "net.pt2", capsys, "--input-size", "64x64")
    assert "80x48 pixels only" in error


class InParts(Network):
    """Keeps its layers as networks do: in a list, in a sequence taken apart, and some unused."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([self.stem])
        self.encoder = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Identity())
        self.auxiliary = torch.nn.Conv2d(12, 2, 1)

    def forward(self, x: torch.Tensor):
        for layer in self.layers:
            x = layer(x)
        for layer in self.encoder:
            x = layer(x)
        return self.head(x)


@pytest.mark.parametrize("save", [script, trace])
def test_parts_without_code_of_their_own_are_no_hindrance(tmp_path, save):
    network = balanced(InParts())
    save(network, tmp_path / "net.pt")
    check(tmp_path, "net.pt", write_drive(tmp_path, network))


class Grid(Network):
    """Makes a tensor on the device of its input, which a trace keeps as a constant."""

    def forward(self, x: torch.Tensor):
        ramp = torch.arange(x.shape[3], device=x.device, dtype=x.dtype)
        return self.head(torch.relu(self.stem(x)) + 0.01 * ramp)


def test_a_trace_made_on_a_gpu_runs_without_one(tmp_path):
    """Its code names the device; such a file is made here by writing another name into it."""
    network = balanced(Grid())
    trace(network, tmp_path / "cpu.pt", normalised(picture(0)))
    patched = 0
    with (
        zipfile.ZipFile(tmp_path / "cpu.pt") as source,
        zipfile.ZipFile(tmp_path / "net.pt", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            patched += content.count(b'torch.device("cpu")')
            target.writestr(
                name, content.replace(b'torch.device("cpu")', b'torch.device("cuda:0")')
            )
    assert patched
    counts = write_drive(tmp_path, network)
    check(tmp_path, "net.pt", counts, "--input-size", f"{SIZE[0]}x{SIZE[1]}")


def test_an_export_made_on_a_gpu_runs_without_one(tmp_path):
    """Such a file is made here by writing the other device into it."""
    network = balanced(Grid())
    export(network, tmp_path / "cpu.pt2")
    patched = 0
    with (
        zipfile.ZipFile(tmp_path / "cpu.pt2") as source,
        zipfile.ZipFile(tmp_path / "net.pt2", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".json"):
                device = rb'"type": ?"cpu", ?"index": ?null'
                content, count = re.subn(device, b'"type": "cuda", "index": 0', content)
                patched += count
            target.writestr(name, content)
    assert patched
    counts = write_drive(tmp_path, network)
    check(tmp_path, "net.pt2", counts)


@pytest.mark.parametrize("save", [trace, script, export])
def test_programs_are_scored_as_they_are_saved(tmp_path, save):
    network = balanced(Network())
    assert network.head.weight.requires_grad
    save(network, tmp_path / "net.pt2")
    counts = write_drive(tmp_path, network)
    check(tmp_path, "net.pt2", counts)


def test_a_network_that_diverged_is_refused(tmp_path, capsys):
    network = balanced(Network())
    write_drive(tmp_path, network)
    with torch.no_grad():
        network.stem.weight[0, 0, 0, 0] = torch.nan
    trace(network, tmp_path / "net.pt")
    assert "1 of the 324 values of" in refused(tmp_path, "net.pt", capsys)


def test_a_network_whose_output_overflows_is_refused(tmp_path, capsys):
    network = balanced(Network())
    write_drive(tmp_path, network)
    with torch.no_grad():
        network.stem.weight *= 1e30
        network.head.weight *= 1e30
    trace(network, tmp_path / "net.pt")
    assert "is not finite" in refused(tmp_path, "net.pt", capsys)


@pytest.mark.parametrize(
    ("option", "values", "said"),
    [
        ("--std", "0,1,1", "above 0"),
        ("--std", "-1,1,1", "above 0"),
        ("--mean", "123.675,116.28,103.53", "divide both by 255"),
        ("--std", "58.395,57.12,57.375", "divide both by 255"),
    ],
)
def test_preprocessing_that_cannot_be_meant_is_refused(tmp_path, capsys, option, values, said):
    network = balanced(Network())
    write_drive(tmp_path, network)
    trace(network, tmp_path / "net.pt")
    error = refused(tmp_path, "net.pt", capsys, f"{option}={values}")
    assert said in error.replace("[", "(").replace("]", ")")


@pytest.mark.parametrize("value", ["--mean=nan,0,0", "--std=inf,1,1"])
def test_preprocessing_that_is_no_number_is_wrong_usage(tmp_path, capsys, value):
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", str(tmp_path), "--checkpoint", "net.pt", value])
    assert ended.value.code == USAGE
    assert (
        f"expected R,G,B, each a number, got {value.partition('=')[2]}" in capsys.readouterr().err
    )


def test_the_ordinary_calls_of_pytorch_count_the_same(tmp_path):
    network = balanced(Network())
    trace(network, tmp_path / "net.pt")
    counts = write_drive(tmp_path, network)
    report = check(tmp_path, "net.pt", counts, "--backend", "eager")
    assert report["provenance"]["backend"] == "eager"


def test_class_weights_change_the_weighted_mean_alone(tmp_path, capsys):
    network = balanced(Network())
    trace(network, tmp_path / "net.pt")
    counts = write_drive(tmp_path, network)
    hits = np.diag(counts)
    iou = hits / (counts.sum(0)[:-1] + counts.sum(1) - hits)
    report = check(tmp_path, "net.pt", counts, "--class-weights", "0,1,1,2")
    assert report["weighted_miou"] == pytest.approx(iou @ [0, 1, 1, 2] / 4)
    report = check(tmp_path, "net.pt", counts, "--class-weights", "0,1,2,1e308")
    assert report["weighted_miou"] == pytest.approx(iou[3])
    error = refused(tmp_path, "net.pt", capsys, "--class-weights", "1,1")
    assert "class_weights must hold 4" in error


def test_weights_of_a_binary_network_have_two_classes(tmp_path, capsys):
    """A DeepLabv3+ of one channel, as segmentation_models_pytorch makes it with ``classes=1``."""
    torch.manual_seed(0)
    small = {"width": 0.25, "aspp_width": 8, "low_width": 8, "decoder_width": 8}
    network = build(Architecture(num_classes=1, **small))
    with torch.no_grad():
        logits = torch.cat([network(normalised(picture(k))) for k in range(FRAMES)])
        network.decoder.classify.bias -= logits.median()
    save(
        tmp_path / "net.safetensors",
        network,
        label_map=None,
        preprocessing=Preprocessing(),
        provenance={},
    )
    counts = write_drive(tmp_path, network)
    for options in (["--no-rewrite"], ["--backend", "eager"], ["--precision", "fp32"]):
        report = check(tmp_path, "net.safetensors", counts, *options)
        assert report["provenance"]["output"] == "one logit"
    error = refused(tmp_path, "net.safetensors", capsys, "--precision", "fp16")
    assert "needs a GPU" in error
    one = "classes:\n  - {name: thing, ids: [1]}\nignore:\n  - {name: rest, ids: [0, 200]}"
    (tmp_path / "map.yaml").write_text(one)
    assert "background first" in refused(tmp_path, "net.safetensors", capsys)
