from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.inference import onnx_backend
from deeplab_miou.model.inference.onnx_backend import (
    GPU_PROVIDERS,
    OnnxBackend,
    missing_packages,
    pick_providers,
)
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.model.segmenter import Segmenter

SMALL = {"num_classes": 5, "width": 0.25, "aspp_width": 16, "low_width": 8, "decoder_width": 16}


def make_checkpoint(**options):
    torch.manual_seed(0)
    network = build(Architecture(**(SMALL | options)))
    return Checkpoint(network, "test", 5, 16, Preprocessing(), None)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(onnx_backend, "missing_packages", lambda: ["onnxscript"])
    with pytest.raises(ConfigurationError, match="needs onnxscript; install onnxruntime onnx"):
        Segmenter(make_checkpoint(), device="cpu", backend="onnxruntime")


needs_packages = pytest.mark.skipif(
    bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}"
)


CUDA = torch.device("cuda:1")


def installed(monkeypatch, *providers):
    runtime = SimpleNamespace(get_available_providers=lambda: list(providers))
    monkeypatch.setattr(onnx_backend.importlib, "import_module", lambda _: runtime)


def test_a_runtime_for_cpus_is_refused_on_a_gpu(monkeypatch):
    installed(monkeypatch, "CPUExecutionProvider")
    monkeypatch.setattr(onnx_backend, "missing_packages", list)
    with pytest.raises(ConfigurationError, match="on cuda:1 needs Tensorrt") as caught:
        OnnxBackend(make_checkpoint().network, CUDA)
    assert "has CPUExecutionProvider; install onnxruntime-gpu" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensorrt_is_preferred_and_told_the_device_and_precision(monkeypatch):
    installed(monkeypatch, "CPUExecutionProvider", *reversed(GPU_PROVIDERS))
    found = pick_providers(CUDA, half=True)
    assert list(found) == list(GPU_PROVIDERS)
    assert found["TensorrtExecutionProvider"] == {"device_id": "1", "trt_fp16_enable": "1"}
    assert pick_providers(CUDA, half=False)["TensorrtExecutionProvider"]["trt_fp16_enable"] == "0"
    installed(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    assert list(pick_providers(CUDA, half=True)) == ["CUDAExecutionProvider"]


@needs_packages
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_load_is_an_error():
    backend = OnnxBackend(make_checkpoint().network)
    backend._providers = {"CUDAExecutionProvider": {"device_id": "0"}}
    with pytest.raises(ConfigurationError, match=re.escape("would run on CPUExecutionProvider")):
        backend.coarse_logits(torch.zeros(1, 3, 32, 48))


@needs_packages
@pytest.mark.parametrize(
    "options",
    [{}, {"align_corners": True, "decoder_layers": 2, "concatenation": "aspp_first"}],
)
def test_labels_are_those_of_pytorch(options):
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    labels = []
    for backend in ("torch", "onnxruntime"):
        segmenter = Segmenter(make_checkpoint(**options), device="cpu", backend=backend)
        segmenter.warm_up((61, 83))
        labels += segmenter.predict([image], [(61, 83)])
    assert (labels[0] != labels[1]).mean() < 1e-3
    assert len(np.unique(labels[0])) > 1


@needs_packages
def test_onnx_files_run(tmp_path):
    checkpoint = make_checkpoint()
    backend = OnnxBackend(checkpoint.network)
    with pytest.warns(), torch.no_grad():
        program = torch.onnx.export(backend._network, (torch.zeros(1, 3, 32, 48),), dynamo=True)
    path = tmp_path / "net.onnx"
    path.write_bytes(program.model_proto.SerializeToString())
    loaded = checkpoints.load(path)
    assert (loaded.family, loaded.num_classes) == ("ONNX", 5)
    assert loaded.preprocessing.size == (32, 48)
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    (labels,) = Segmenter(loaded, device="cpu").predict([image], [(32, 48)])
    (expected,) = Segmenter(checkpoint, device="cpu").predict([image], [(32, 48)])
    assert (labels != expected).mean() < 1e-3
