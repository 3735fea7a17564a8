"""Speed of image in, full-size label map out, against plain eager code that does the same.

The plain code is what users of VainF/DeepLabV3Plus-Pytorch and segmentation_models_pytorch write:
normalise, network, bilinear logits at full size, argmax. It runs in a process of its own, so that
it keeps PyTorch's and the C library's defaults; the methods take turns on the same images.
Every method must give the plain labels, pixel for pixel but for ties.

    python bench/network.py [--size 512 1024] [--runs 7] [--threads 2]

ONNX Runtime takes part where its packages are installed, segmentation_models_pytorch's own network
where requirements-parity.txt says.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from machine import describe
from torch import nn
from torch.nn import functional as F  # noqa: N812

from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.inference.onnx_backend import missing_packages
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.model.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLASSES = 19
IMAGES = 2
PARITY = Path(sys.prefix) / "parity"
# A tie: below this lead of the best class over the next, rounding decides.
TIE = 1e-5

VAINF = Architecture(
    num_classes=CLASSES, pad_before_expansion=True, stem_padding=0, dilation_rule="contracted"
)


def scene(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Return an image of flat regions with some noise, as cameras see."""
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    row = (y + 9 * np.sin(x / 31)).astype(int) % height // 48
    column = (x + 9 * np.sin(y / 27)).astype(int) % width // 48
    colors = random.integers(0, 224, (height // 48 + 1, width // 48 + 1, 3), dtype=np.uint8)
    noise = random.integers(0, 32, (height, width, 3), dtype=np.uint8)
    return np.asarray(colors[row, column] + noise, np.uint8)


def randomize(network: nn.Module) -> nn.Module:
    """Give every norm statistics of its own, so that folding has something to fold."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.3, 0.3)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.4, 1.1)
            module.bias.data.uniform_(-0.4, 0.4)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    return network.eval()


def import_smp() -> Any | None:  # noqa: ANN401 - an optional package
    """Return segmentation_models_pytorch, whose torchvision lacks its operators on CPUs."""
    if not PARITY.is_dir():
        return None
    sys.path.append(str(PARITY))
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import segmentation_models_pytorch  # noqa: PLC0415
    import_smp.library = library  # type: ignore[attr-defined]  # alive as long as the process
    return segmentation_models_pytorch


class Plain:
    """The plain code around one network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    def logits(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Return ``(1, n, H, W)``."""
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous().float().div(255)
        batch = ((pixels - self.mean) / self.std)[None]
        with torch.no_grad():
            logits: torch.Tensor = self.network(batch)
            return F.interpolate(logits, size=image.shape[:2], mode="bilinear")

    def labels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return ``(H, W)``."""
        return self.logits(image).argmax(1)[0].to(torch.uint8).numpy()


_PEER: list[Plain] = []


def peer_setup(kind: str, folder: str, threads: int) -> None:
    """Build a plain network in the other process and leave its weights in a file."""
    torch.set_num_threads(threads)
    smp = import_smp() if kind == "smp" else None
    network: nn.Module
    if smp is not None:
        network = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=CLASSES)
        torch.save(randomize(network).state_dict(), Path(folder) / "smp.pth")
    else:
        network = randomize(build(VAINF))
        torch.save(network.state_dict(), Path(folder) / "vainf.pth")
    _PEER[:] = [Plain(network)]


def peer_run(image: NDArray[np.uint8]) -> float:
    """Return the seconds of one image."""
    start = time.perf_counter()
    _PEER[0].labels(image)
    return time.perf_counter() - start


def peer_labels(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the labels and by how much each pixel's best class leads."""
    logits = _PEER[0].logits(image)[0]
    best = logits.topk(2, dim=0).values
    return logits.argmax(0).to(torch.uint8).numpy(), (best[0] - best[1]).numpy()


def load(kind: str, folder: str) -> Checkpoint:
    """Return our network with the peer's weights."""
    if kind == "smp":
        return checkpoints.load(Path(folder) / "smp.pth")
    network = build(VAINF)
    network.load_state_dict(torch.load(Path(folder) / "vainf.pth", weights_only=True))
    return Checkpoint(network, "VainF", CLASSES, 16, Preprocessing(), None)


def timed(segmenter: Segmenter) -> Callable[[NDArray[np.uint8]], float]:
    """Return a function that times one image."""

    def run(image: NDArray[np.uint8]) -> float:
        start = time.perf_counter()
        segmenter.predict([image], [(image.shape[0], image.shape[1])])
        return time.perf_counter() - start

    return run


def compare(kind: str, size: tuple[int, int], runs: int, threads: int) -> None:
    """Print a table of one network's methods."""
    images = [scene(size, seed) for seed in range(IMAGES)]
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, spawn) as peer:
        peer.submit(peer_setup, kind, folder, threads).result()
        expected = [peer.submit(peer_labels, image).result() for image in images]
        methods: dict[str, Callable[[NDArray[np.uint8]], float]] = {
            f"plain eager {kind}": lambda image: peer.submit(peer_run, image).result()
        }
        changed = {f"plain eager {kind}": "0"}
        options: dict[str, dict[str, Any]] = {"ours": {}}
        if kind == "VainF":
            # The other's decoder is separable: there is nothing to rewrite.
            options = {"ours, decoder as it is": {"rewrite": False}} | options
        if not missing_packages():
            options["ours, ONNX Runtime"] = {"backend": "onnxruntime"}
        for name, option in options.items():
            segmenter = Segmenter(load(kind, folder), device="cpu", threads=threads, **option)
            segmenter.warm_up(size)
            differing = ties = 0
            for image, (labels, lead) in zip(images, expected, strict=True):
                differs = segmenter.predict([image], [size])[0] != labels
                differing += int(differs.sum())
                ties += int((differs & (lead < TIE)).sum())
            assert differing == ties, f"{name}: {differing - ties} labels differ"
            changed[name] = f"0, ties {ties}" if ties else "0"
            methods[name] = timed(segmenter)
        times: dict[str, list[float]] = {name: [] for name in methods}
        for turn in range(runs + 1):
            for name, run in methods.items():
                seconds = run(images[turn % IMAGES])
                if turn:
                    times[name].append(seconds)
    base = statistics.median(next(iter(times.values())))
    print(f"\n{kind} MobileNetV2, {size[1]}x{size[0]}, {threads} threads, {CLASSES} classes\n")
    print("| method | median ms | min ms | times plain | labels changed |")
    print("|---|---|---|---|---|")
    for name, values in times.items():
        middle = statistics.median(values)
        print(
            f"| {name} | {1e3 * middle:.0f} | {1e3 * min(values):.0f} "
            f"| {base / middle:.2f} | {changed[name]} |"
        )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    print(f"{describe()}, PyTorch {torch.__version__}")
    kinds = ["VainF", "smp"] if PARITY.is_dir() else ["VainF"]
    for kind in kinds:
        compare(kind, tuple(arguments.size), arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
