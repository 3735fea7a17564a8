"""Frames and labels in host memory to counts on the GPU: time, floor, and plain eager code.

    python bench/gpu.py [--size 1024 2048] [--networks mobilenet_v2 resnet50 resnet101]

Needs neither ROS nor a network connection; torch >= 2.6. Everything is checked before it is timed
(`gpu_checks.py`): counts and labels of each way to count against float64, with random logits and
outputs filled with other values; the counts of each network's frames against the labels that it
gives for them, whether these are asked for or not, one by one, pipelined and in batches; these
labels against float32; that nothing waits for the GPU before a result is asked for. Times are by
device events and start with arrays in pageable host memory. The floor is the roofline of every
convolution and matrix product in half precision, or the bytes that must be read, by peaks measured
in the same run (`roofline.py`). The peer is eager float32 (PyTorch's default: convolutions may use
TF32), labels to the CPU, NumPy's bincount. Without a GPU the checks run on small shapes on the CPU,
through the same steps, and nothing is timed.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from gpu_checks import (
    CLASSES,
    IGNORE,
    LateAccelerator,
    check_counting,
    check_scores,
    make_cases,
    normal,
    one_by_one,
    pipelined,
    regions,
)
from gpu_networks import float32_labels, make_network
from machine import describe
from network import scene
from roofline import Peaks, Roofline, measure_peaks, median
from torch.nn import functional as F  # noqa: N812

from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.gpu.captured import CapturedBackend
from deeplab_miou.model.gpu.device_scorer import DeviceScorer
from deeplab_miou.model.inference.backends import TorchBackend
from deeplab_miou.model.inference.normalise import make_probe
from deeplab_miou.model.logits.counting import add_counts, cells, pick_method
from deeplab_miou.model.segmenter import Segmenter

if TYPE_CHECKING:
    from gpu_checks import Frames, Ids, Scorer, Size, Way
    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.metric.frame_scores import Scored
    from deeplab_miou.model.network.deeplab import DeepLabV3Plus

BATCHES = (1, 4)
# Frames that a pipelined measurement takes at a time: filling and emptying the pipeline is in it.
FRAMES = 32


class Peer:
    """What users write: eager float32, labels to the CPU, NumPy's bincount."""

    def __init__(self, network: DeepLabV3Plus, device: torch.device) -> None:
        self.network = network.to(device)
        self.device = device
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225], device=device).view(3, 1, 1)

    def frame(self, image: Ids, truth: Ids) -> NDArray[np.int64]:
        """Return the matrix of one frame."""
        torch.backends.cudnn.allow_tf32 = True
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1).float().div(255)
        with torch.no_grad():
            logits = self.network(((pixels - self.mean) / self.std)[None])
        return self.count(logits, truth)

    @staticmethod
    def count(logits: Tensor, truth: Ids) -> NDArray[np.int64]:
        """Return the matrix of one frame's logits, coarse or not."""
        n = logits.shape[1]
        full = F.interpolate(logits, size=truth.shape, mode="bilinear")
        labels = full.argmax(1)[0].cpu().numpy()
        valid = truth != IGNORE
        cells = truth[valid].astype(np.int64) * (n + 1) + labels[valid]
        return np.bincount(cells, minlength=n * (n + 1)).reshape(n, n + 1)


def time_counting(device: torch.device, size: Size, peaks: Peaks, runs: int) -> list[str]:
    """Return the rows of counting alone."""
    rows = []
    coarse = (size[0] // 4, size[1] // 4)
    for classes in (CLASSES, 150):
        for kind in ("coherent", "noise"):
            logits = normal((1, classes, *coarse), device)
            if kind == "coherent":
                small = normal((1, classes, size[0] // 64, size[1] // 64), device)
                logits = F.interpolate(small, size=coarse, mode="bicubic")
            logits = logits.contiguous(memory_format=torch.channels_last)
            truth = regions(size, classes, cell=64 if kind == "coherent" else 1)
            resident = torch.from_numpy(truth).to(device)
            count = functools.partial(
                add_counts,
                logits,
                resident,
                torch.zeros((1, cells(classes)), dtype=torch.int64, device=device),
                num_classes=classes,
                ignore_index=IGNORE,
                align_corners=False,
                method=pick_method(device, classes),
            )
            ours = median(count, device, runs)
            labels = torch.empty_like(resident)
            written = median(functools.partial(count, labels=labels), device, runs)
            peer = median(functools.partial(Peer.count, logits, truth[0]), device, 5)
            floor = 1e3 * (logits.nbytes + resident.nbytes) / peaks.bytes
            rows.append(
                f"| {classes} classes, {kind} | {ours:.3f} | {written:.3f} | {floor:.3f} "
                f"| {ours / floor:.1f} | {peer:.1f} | {peer / ours:.0f} |"
            )
    return rows


def time_copies(device: torch.device, size: Size, runs: int) -> str:
    """Return what it takes at least to bring a frame and its labels to the device."""
    source = np.ones(4 * size[0] * size[1], np.uint8)
    pinned = torch.empty(source.size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    target = torch.empty(source.size, dtype=torch.uint8, device=device)
    staged = median(lambda: np.copyto(pinned.numpy(), source), torch.device("cpu"), runs)
    uploaded = median(lambda: target.copy_(pinned, non_blocking=True), device, runs)
    return (
        f"A frame and its labels, {source.size / 2**20:.1f} MiB: {staged:.2f} ms to pinned memory "
        f"on one thread, {uploaded:.2f} ms from there to the GPU; both go on beside the network"
    )


def make_scorer(network: DeepLabV3Plus, device: torch.device, size: Size) -> tuple[Scorer, str]:
    """Return what is measured, and its precision; on a CPU, the same steps over a CPU."""
    checkpoint = Checkpoint(network.cpu(), "ours", CLASSES, 16, Preprocessing(), None)
    if device.type == "cpu":
        accelerator = LateAccelerator()
        backend = CapturedBackend(TorchBackend(network, device, "fp32"), accelerator)
        scorer = DeviceScorer(backend, checkpoint, accelerator)
        scorer.check_counting(make_probe(size), size)
        print(f"network on cpu by {backend.name}")
        return scorer, "fp32"
    segmenter = Segmenter(checkpoint, device=str(device))
    segmenter.warm_up(size)
    return segmenter, segmenter.precision


def time_network(
    backbone: str, device: torch.device, size: Size, peaks: Peaks, runs: int
) -> list[str]:
    """Return the rows of one network, from frames and labels in host memory on."""
    print(f"\n{backbone}:")
    images = [scene(size, seed) for seed in range(3)]
    truths = [regions(size, CLASSES, cell=cell)[0] for cell in (64, 32, 16)]
    network = make_network(backbone, images[0])
    expected = [float32_labels(network, image, device) for image in images]
    eager = median(functools.partial(Peer(network, device).frame, images[0], truths[0]), device, 7)
    with torch.inference_mode():
        half = torch.float32 if device.type == "cpu" else torch.float16
        backend = TorchBackend(network, device, "fp32" if device.type == "cpu" else "fp16")
        batch = torch.ones(1, 3, *size, dtype=half, device=device)
        with Roofline(peaks) as roofline:
            backend.coarse_logits(batch)
    floor = roofline.milliseconds
    del backend
    scorer, precision = make_scorer(network, device, size)
    for number in BATCHES:
        check_scores(scorer, list(zip(images, truths, expected, strict=True)), number, device)

    def row(method: str, took: float) -> str:
        return (
            f"| {backbone} | {method} | {took:.2f} | {floor:.2f} | {took / floor:.1f} "
            f"| {eager / took:.1f} |"
        )

    rows = [row("eager fp32, labels to the CPU, NumPy", eager)]
    ways = {"one by one": one_by_one, "pipelined": pipelined}
    for number in BATCHES:
        for name, way in ways.items():
            frames: list[Frames] = [
                ([images[0]] * number, [truths[0]] * number) for _ in range(FRAMES // number)
            ]
            call = functools.partial(exhaust, way, scorer, frames)
            took = median(call, device, max(runs // 8, 1)) / (number * len(frames))
            rows.append(row(f"{precision}, batches of {number}, {name}", took))
    return rows


def exhaust(way: Way, scorer: Scorer, frames: list[Frames]) -> list[Scored]:
    """Score frames while nobody watches."""
    return list(way(scorer, frames, keep_predictions=False))


def run(device: torch.device, size: Size, networks: list[str], runs: int, deadline: float) -> bool:
    """Check, then time, then print; return whether each network passed its checks."""
    small = device.type == "cpu"
    check_counting(device, make_cases(None if small else size))
    dtype = torch.float32 if small else torch.float16
    peaks = measure_peaks(
        device, dtype, side=64 if small else 8192, size=1 << (16 if small else 30)
    )
    counted = time_counting(device, size, peaks, runs)
    copied = time_copies(device, size, runs)
    networked, failed = [], False
    for backbone in networks:
        if time.monotonic() > deadline:
            print(f"{backbone} is left out: no time is left")
            continue
        try:
            networked += time_network(backbone, device, size, peaks, runs)
        except AssertionError as error:
            print(f"{backbone} is not timed: {error}")
            failed = True
    if small:
        print("\nno GPU was found: nothing is timed")
        return not failed
    print(
        f"\nPeaks measured: {peaks.flops / 1e12:.0f} TFLOP/s in {dtype}, "
        f"{peaks.bytes / 1e12:.2f} TB/s\n{copied}\n\nCounting alone, {size[1]}x{size[0]}, ms\n"
    )
    print("| logits, labels | ms | ms, labels written | floor | ratio | peer ms | x peer |")
    print("|---|---|---|---|---|---|---|", *counted, sep="\n")
    print(f"\nFrame and labels in host memory to counts, {size[1]}x{size[0]}, ms a frame\n")
    print("| network | method | ms | floor | ratio | x peer |")
    print("|---|---|---|---|---|---|", *networked, sep="\n")
    return not failed


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["mobilenet_v2", "resnet50", "resnet101"]
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 2048), metavar=("H", "W"))
    parser.add_argument("--networks", nargs="*", choices=names, default=names)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=240, help="start no network after these")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds
    # Backend, precision and recording are in the package's own lines, and why a faster one is not.
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("deeplab_miou").setLevel(logging.INFO)
    if torch.cuda.is_available():
        device = torch.device("cuda:0")
        print(f"{describe()}, {torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}")
        size, networks, runs = tuple(arguments.size), arguments.networks, arguments.runs
    else:
        print(f"{describe()}, PyTorch {torch.__version__}")
        torch.set_num_threads(1)
        device = torch.device("cpu")
        size, networks, runs = (64, 128), arguments.networks[:1], 1
    sys.exit(0 if run(device, size, networks, runs, deadline) else 1)


if __name__ == "__main__":
    main()
