from __future__ import annotations

import io
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.segmenter import Segmenter


class Tiny(nn.Module):
    """Logits at half the size, as a foreign network may give them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)

    def forward(self, x):
        return self.conv(x)


class InDictionary(Tiny):
    def forward(self, x):
        return {"out": self.conv(x), "aux": self.conv(x)}


class Argmax(Tiny):
    def forward(self, x):
        return self.conv(x).argmax(1)


class Pooled(Tiny):
    def forward(self, x):
        return self.conv(x).mean((0, 2, 3))


class OneRow(Tiny):
    """All pixels one after the other, as networks from Keras have them."""

    def forward(self, x):
        return self.conv(x).flatten(2)


class OneColumn(OneRow):
    def forward(self, x):
        return self.conv(x).flatten(2).transpose(1, 2)


def script(network, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network.eval()).save(str(path))
    return path


def export(network, path, size=(64, 96), *, dynamic=True):
    shapes = ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},) if dynamic else None
    program = torch.export.export(network.eval(), (torch.rand(1, 3, *size),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def check_labels(checkpoint):
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    (labels,) = Segmenter(checkpoint, device="cpu").predict([image], [(32, 48)])
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    with torch.inference_mode():
        expected = Tiny()(pixels).argmax(1)[0].numpy()
    assert (labels == expected).mean() > 0.999
    assert len(np.unique(labels)) > 1


HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.mark.parametrize("network", [Tiny, InDictionary])
def test_torchscript_runs(tmp_path, network):
    path = script(network(), tmp_path / "net.ts")
    loaded = checkpoints.load(path, **HALF)
    assert (loaded.family, loaded.num_classes) == ("TorchScript", 6)
    check_labels(loaded)


def test_torch_export_runs(tmp_path):
    loaded = checkpoints.load(export(Tiny(), tmp_path / "net.pt2"), **HALF)
    assert (loaded.family, loaded.num_classes) == ("torch.export", 6)
    assert loaded.preprocessing.size is None
    check_labels(loaded)


def test_fixed_size_of_an_export_becomes_the_input_size(tmp_path):
    loaded = checkpoints.load(export(Tiny(), tmp_path / "net.pt2", (32, 48), dynamic=False))
    assert loaded.preprocessing.size == (32, 48)
    image = np.zeros((64, 96, 3), np.uint8)
    (labels,) = Segmenter(loaded, device="cpu").predict([image], [(64, 96)])
    assert labels.shape == (64, 96)


def test_pickled_objects_in_an_export_are_refused(tmp_path):
    path = export(Tiny(), tmp_path / "net.pt2")
    harmful = io.BytesIO()
    torch.save({"x": print}, harmful)
    evil = tmp_path / "evil.pt2"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            inputs = name.endswith("sample_inputs/model.pt")
            target.writestr(name, harmful.getvalue() if inputs else content)
    with pytest.raises(ConfigurationError, match=r"sample_inputs/model\.pt holds pickled objects"):
        checkpoints.load(evil)


def test_compiled_code_is_named(tmp_path):
    """The names are those of `torch._inductor.aoti_compile_and_package`, which needs a compiler."""
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        archive.writestr("net/data/aotinductor/model/c2vt.wrapper.so", b"\x7fELF")
        archive.writestr("net/archive_format", "pt2")
    with pytest.raises(ConfigurationError, match=r"AOTInductor compiled.*torch\.export\.save"):
        checkpoints.load(tmp_path / "net.pt2")


def test_labels_are_taken_as_they_are(tmp_path):
    loaded = checkpoints.load(script(Argmax(), tmp_path / "net.ts"), **HALF)
    assert loaded.num_classes == 0
    check_labels(loaded)


@pytest.mark.parametrize(
    ("network", "shape"), [(Pooled, "6,"), (OneRow, "1, 6, 16384"), (OneColumn, "1, 16384, 6")]
)
def test_an_output_that_is_neither_is_refused(tmp_path, network, shape):
    with pytest.raises(ConfigurationError) as caught:
        checkpoints.load(script(network(), tmp_path / "net.ts"))
    assert f"its output is torch.float32 ({shape}), expected logits" in str(caught.value)


def test_other_channel_counts_are_refused(tmp_path):
    network = Tiny()
    network.conv = nn.Conv2d(4, 6, 3)
    with pytest.raises(ConfigurationError, match=r"fails on a \(1, 3, 256, 256\) image"):
        checkpoints.load(script(network, tmp_path / "net.ts"))


def test_programs_have_no_options(tmp_path):
    with pytest.raises(ConfigurationError, match="output_stride cannot be set"):
        checkpoints.load(script(Tiny(), tmp_path / "net.ts"), output_stride=8)


def test_image_that_the_program_refuses_is_failed(tmp_path, monkeypatch):
    loaded = checkpoints.load(export(Tiny(), tmp_path / "net.pt2"))
    segmenter = Segmenter(loaded, device="cpu")
    monkeypatch.setattr(loaded.network.run, "forward", lambda _image: {}["no such output"])
    with pytest.raises(FrameError, match="fails on an image of 16x16 pixels: KeyError"):
        segmenter.predict([np.zeros((16, 16, 3), np.uint8)], [(16, 16)])


def test_damaged_program_is_refused(tmp_path):
    path = script(Tiny(), tmp_path / "net.ts")
    broken = tmp_path / "broken.ts"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist():
            if "code" not in name:
                target.writestr(name, source.read(name))
    with pytest.raises(ConfigurationError, match="damaged TorchScript file"):
        checkpoints.load(broken)
