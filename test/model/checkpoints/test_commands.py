from __future__ import annotations

import json
import os

import pytest
import torch

from deeplab_miou import cli
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import DeepLabV3Plus
from deeplab_miou.options.scoring import EngineOptions

SMALL = Architecture(num_classes=3, width=0.35, aspp_width=8, low_width=8, decoder_width=8)
CLASSES = {"name": "three", "classes": [{"name": name} for name in ("road", "car", "sky")]}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoints.save(
        path,
        DeepLabV3Plus(SMALL).eval(),
        label_map=LabelMap.from_dict(CLASSES, "test"),
        preprocessing=checkpoints.Preprocessing(),
        provenance={"trained_on": "nothing"},
    )
    return path


def test_inspect_tells_all_that_the_file_holds(checkpoint, capsys):
    assert cli.main(["inspect", str(checkpoint), "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == 3
    assert facts["class_names"] == ["road", "car", "sky"]
    assert facts["architecture"]["width"] == 0.35
    assert facts["provenance"] == {"trained_on": "nothing"}
    assert facts["sha256"] == checkpoints.file_digest(checkpoint)
    network = checkpoints.load(checkpoint).network
    assert facts["parameters"] == sum(p.numel() for p in network.parameters())
    assert cli.main(["inspect", str(checkpoint)]) == 0
    assert "label_map: three" in capsys.readouterr().out


def test_inspect_says_in_one_line_what_is_no_checkpoint(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("no network")
    assert cli.main(["inspect", str(path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "notes.txt" in error


def test_convert_keeps_the_weights_and_what_the_user_knows_better(checkpoint, tmp_path, capsys):
    target = tmp_path / "converted.safetensors"
    options = ["--input-size", "64x96", "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2"]
    assert cli.main(["convert", str(checkpoint), str(target), *options]) == 0
    assert "converted.safetensors" in capsys.readouterr().out
    before, after = checkpoints.load(checkpoint), checkpoints.load(target)
    assert after.preprocessing == checkpoints.Preprocessing((0.5,) * 3, (0.2,) * 3, (64, 96))
    assert after.provenance["converted_from_sha256"] == before.digest
    assert after.label_map == before.label_map
    image = torch.rand(1, 3, 65, 97)
    with torch.inference_mode():
        assert torch.equal(before.network(image), after.network(image))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_inspect_runs_a_program_only_when_told_to(tmp_path, capsys):
    """Loading alone would run its ``__setstate__``."""

    class Trap(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 1)

        @torch.jit.export
        def __getstate__(self):
            return (self.conv.weight, self.training)

        @torch.jit.export
        def __setstate__(self, state: tuple[torch.Tensor, bool]):
            raise RuntimeError("the program ran")

        def forward(self, x):
            return self.conv(x)

    torch.jit.script(Trap()).save(str(tmp_path / "trap.pt"))
    assert cli.main(["inspect", str(tmp_path / "trap.pt")]) == 0
    out = capsys.readouterr().out
    assert "family: TorchScript" in out
    assert "was not run" in out
    assert cli.main(["inspect", str(tmp_path / "trap.pt"), "--run"]) == 1
    assert "failed in the TorchScript interpreter" in capsys.readouterr().err
    path = tmp_path / "program.pt"
    torch.jit.trace(torch.nn.Conv2d(3, 4, 1), torch.rand(1, 3, 8, 8)).save(str(path))
    assert cli.main(["inspect", str(path), "--run", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["classes"], facts["output"]) == (4, "logits")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_convert_leaves_the_permissions_to_the_umask(checkpoint, tmp_path, umask):
    target = tmp_path / "converted.safetensors"
    before = os.umask(umask)
    try:
        assert cli.main(["convert", str(checkpoint), str(target)]) == 0
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    assert sorted(tmp_path.iterdir()) == sorted([checkpoint, target])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_convert_refuses_a_program(tmp_path, capsys):
    path = tmp_path / "program.pt"
    torch.jit.trace(torch.nn.Conv2d(3, 3, 1), torch.rand(1, 3, 8, 8)).save(str(path))
    assert cli.main(["convert", str(path), str(tmp_path / "out.safetensors")]) == 1
    assert "program" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--input-size", "64"], ["--mean", "1,2"], ["--output-stride", "4"]]
)
def test_malformed_options_are_wrong_usage(checkpoint, tmp_path, options):
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", str(checkpoint), str(tmp_path / "out"), *options])
    assert end.value.code == 2


def test_the_engine_takes_what_the_user_knows_better(checkpoint):
    options = EngineOptions(checkpoint=str(checkpoint), input_size=(32, 48), output_stride=8)
    engine = build_engine(options)
    assert engine.provenance["preprocessing"]["size"] == (32, 48)
    assert engine.provenance["output_stride"] == 8
    plain = build_engine(EngineOptions(checkpoint=str(checkpoint)))
    assert plain.configuration != engine.configuration
    with pytest.raises(ConfigurationError, match="std"):
        build_engine(EngineOptions(checkpoint=str(checkpoint), std=(0.0, 1.0, 1.0)))
