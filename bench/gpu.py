"""Frames and labels in host memory to counts on the GPU: time, floor, and plain eager code.

    python bench/gpu.py [--size 1024 2048] [--networks mobilenet_v2 resnet50 resnet101]

Needs neither ROS nor a network connection; torch >= 2.6. Everything is checked before it is timed:
counts and labels against float64, with random logits and outputs filled with other values; the
networks against float32; that counting never waits for the GPU. Times are by device events. The
floor is the roofline of every convolution and matrix product, or the bytes that must be read, by
peaks measured in the same run (`roofline.py`). The peer is eager float32, labels to the CPU,
NumPy's bincount. Without a GPU the checks run on small shapes on the CPU, and nothing is timed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

if not torch.cuda.is_available():
    # Before Triton is first imported: the kernel then runs in Triton's interpreter.
    os.environ["TRITON_INTERPRET"] = "1"

from machine import describe
from network import randomize, scene
from roofline import Peaks, Roofline, measure_peaks, median

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model import counting
from deeplab_miou.model.architecture import Architecture
from deeplab_miou.model.checkpoints import Checkpoint, Preprocessing
from deeplab_miou.model.counter import DeviceCounter
from deeplab_miou.model.engines import PlainEngine, TorchEngine
from deeplab_miou.model.inputs import Normalizer
from deeplab_miou.model.network import build
from deeplab_miou.model.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.devices import Precision
    from deeplab_miou.model.network import DeepLabV3Plus

    Size = tuple[int, int]

CLASSES = 19
IGNORE = 255
POISON = 1 << 41
BATCH = 4
# Labels of a faster network that have to be those of float32.
AGREEMENT = 0.999


class Case(NamedTuple):
    """Logits to count."""

    classes: int
    coarse: Size
    size: Size
    align_corners: bool
    dtype: torch.dtype


def regions(size: Size, classes: int, *, cell: int, images: int = 1) -> NDArray[np.uint8]:
    """Return label maps ``(images, *size)`` of square regions, a tenth of the pixels ignored."""
    generator = np.random.default_rng(7)
    height, width = size
    shape = (images, height // cell + 1, width // cell + 1)
    ids = generator.integers(0, classes, shape, np.uint8)
    truth = ids.repeat(cell, 1).repeat(cell, 2)[:, :height, :width].copy()
    truth[generator.random(truth.shape) < 0.1] = IGNORE  # noqa: PLR2004
    return truth


def normal(shape: tuple[int, ...], device: torch.device, seed: int = 0) -> Tensor:
    """Return random numbers that are the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(device)


def available_methods(device: torch.device) -> dict[str, counting.Method]:
    """Return the ways to count that can run here."""
    methods = {"PyTorch in bands": counting.find_method(fused=False)}
    if importlib.util.find_spec("triton") is None:
        print("check: no Triton here, its kernel is left out")
    else:
        name = "Triton kernel" if device.type == "cuda" else "Triton kernel, interpreted"
        methods[name] = counting.find_method(fused=True)
    return methods


def check_counting(device: torch.device, cases: list[Case]) -> None:
    """Compare every way to count with float64."""
    for name, method in available_methods(device).items():
        pixels = ties = 0
        for case in cases:
            logits = normal((2, case.classes, *case.coarse), device).to(case.dtype)
            if case.align_corners:
                logits = logits.contiguous(memory_format=torch.channels_last)
            truth = torch.from_numpy(regions(case.size, case.classes, cell=8, images=2)).to(device)
            labels = torch.full_like(truth, 201)
            tables = torch.full((2, counting.cells(case.classes)), POISON, device=device)
            counting.add_counts(
                logits,
                truth,
                tables,
                num_classes=case.classes,
                align_corners=case.align_corners,
                labels=labels,
                method=method,
            )
            # Float32 rounds the sums, and the positions by so much of the longer axis.
            rounding = counting.TIE + 8 * 2**-23 * max(case.coarse)
            found = (tables - POISON).cpu().numpy()
            for image, table in enumerate(found):
                full = F.interpolate(
                    logits[image : image + 1].double(),
                    size=case.size,
                    mode="bilinear",
                    align_corners=case.align_corners,
                )[0]
                top = full.topk(2, dim=0).values
                clear = top[0] - top[1] > rounding * float(logits.abs().max())
                right = full.argmax(0) == labels[image]
                assert bool(right[clear].all()), f"{name}, {case}: labels differ beyond rounding"
                expected = confusion_matrix(
                    truth[image].cpu().numpy(), labels[image].cpu().numpy(), case.classes
                )
                matrix = counting.to_matrix(table, case.classes)
                assert np.array_equal(matrix, expected), f"{name}, {case}: counts differ"
                ties += int((~right).sum())
            pixels += labels.numel()
        print(f"check: {name}: {len(cases)} cases, {pixels} pixels, exact counts, {ties} ties")


def check_copies(device: torch.device, size: Size) -> None:
    """Compare what is copied beside the work with the sum of all frames; nothing may wait."""
    counter = DeviceCounter(CLASSES, device=device, every=7)
    logits = normal((1, CLASSES, size[0] // 4, size[1] // 4), device)
    truths = [torch.from_numpy(regions(size, CLASSES, cell=c)).to(device) for c in (8, 16, 32)]
    one = []
    for truth in truths:
        counter.reset()
        counter.add(logits, truth)
        one.append(counter.read())
    counter.reset()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.set_sync_debug_mode("error")
    seen = set()
    for _ in range(100):
        for truth in truths:
            counter.add(logits, truth)
        seen.add(counter.peek()[1])
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")
    assert np.array_equal(counter.read(), 100 * sum(one)), "copies do not add up"
    print(f"check: 300 frames, {len(seen)} copies seen on the way, the sum exact")


def make_network(backbone: str) -> DeepLabV3Plus:
    """Return one of the networks that users have, with random weights."""
    network = build(Architecture(num_classes=CLASSES, backbone=backbone))  # type: ignore[arg-type]
    randomize(network)
    return network


def pick_engine(
    backbone: str, network: DeepLabV3Plus, image: NDArray[np.uint8], device: torch.device
) -> tuple[TorchEngine, Precision]:
    """Return the first precision whose labels are those of plain float32."""
    precisions: list[Precision] = ["fp32"] if device.type == "cpu" else ["fp16", "bf16", "fp32"]
    for precision in precisions:
        engine = TorchEngine(network, device, precision)
        agreement = check_network(network, engine, image, device)
        print(f"check: {backbone}, {engine.name}: {100 * agreement:.3f} % of float32's labels")
        if agreement >= AGREEMENT:
            return engine, precision
    raise AssertionError(f"{backbone}: no precision gives the labels of float32")


def check_network(
    network: DeepLabV3Plus, engine: TorchEngine, image: NDArray[np.uint8], device: torch.device
) -> float:
    """Return the share of labels that are those of plain float32; TF32 is off for these."""
    torch.backends.cudnn.allow_tf32 = False
    batch = Normalizer(Preprocessing(), device)([image])
    labels = []
    for each in (PlainEngine(network, device), engine):
        coarse = each.coarse_logits(batch.clone())
        full = F.interpolate(coarse, size=image.shape[:2], mode="bilinear")
        labels.append(full.argmax(1))
    torch.backends.cudnn.allow_tf32 = True
    assert len(labels[0].unique()) > 1, "one class everywhere: nothing is compared"
    return float((labels[0] == labels[1]).float().mean())


class Peer:
    """What users write: eager float32, labels to the CPU, NumPy's bincount."""

    def __init__(self, network: DeepLabV3Plus, device: torch.device) -> None:
        self.network = network.to(device)
        self.device = device
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225], device=device).view(3, 1, 1)

    def frame(self, image: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the matrix of one frame."""
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1).float().div(255)
        with torch.no_grad():
            logits = self.network(((pixels - self.mean) / self.std)[None])
        return self.count(logits, truth)

    @staticmethod
    def count(logits: Tensor, truth: NDArray[np.uint8]) -> NDArray[np.int64]:
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
            counter = DeviceCounter(classes, device=device, every=10**6)
            labels = torch.empty_like(resident)
            ours = median(functools.partial(counter.add, logits, resident), device, runs)
            written = median(
                functools.partial(counter.add, logits, resident, labels=labels), device, runs
            )
            peer = median(functools.partial(Peer.count, logits, truth[0]), device, 5)
            floor = 1e3 * (logits.nbytes + resident.nbytes) / peaks.bytes
            rows.append(
                f"| {classes} classes, {kind} | {ours:.3f} | {written:.3f} | {floor:.3f} "
                f"| {ours / floor:.1f} | {peer:.1f} | {peer / ours:.0f} |"
            )
    return rows


def time_network(
    backbone: str, device: torch.device, size: Size, peaks: Peaks, runs: int
) -> list[str]:
    """Return the rows of one network, from frames and labels in host memory on."""
    image, truth = scene(size, 0), regions(size, CLASSES, cell=64)[0]
    network = make_network(backbone)
    peer = Peer(network, device)
    eager = median(functools.partial(peer.frame, image, truth), device, 7)
    with torch.inference_mode():
        engine, precision = pick_engine(backbone, network, image, device)
        normalize = Normalizer(Preprocessing(), device)
        with Roofline(peaks) as roofline:
            engine.coarse_logits(normalize([image]))
    counter = DeviceCounter(CLASSES, device=device)

    def resident() -> None:
        ids = torch.from_numpy(truth).to(device, non_blocking=True)[None]
        with torch.inference_mode():
            counter.add(engine.coarse_logits(normalize([image])), ids)

    methods: dict[str, tuple[int, Callable[[], object]]] = {
        f"{precision}, DeviceCounter": (1, resident)
    }
    checkpoint = Checkpoint(network.cpu(), "ours", CLASSES, 16, Preprocessing(), None)
    segmenter = Segmenter(checkpoint, device=str(device), precision=precision)
    segmenter.warm_up(size)
    for batch in (1, BATCH):
        call: Callable[[], object] = functools.partial(
            segmenter.count, [image] * batch, [truth] * batch
        )
        methods[f"{segmenter.precision}, Segmenter.count, batches of {batch}"] = (batch, call)
    rows = [f"| {backbone} | eager fp32, NumPy | {eager:.2f} | | | 1.0 |"]
    for name, (batch, call) in methods.items():
        took = median(call, device, max(runs // batch, 3)) / batch
        rows.append(
            f"| {backbone} | {name} | {took:.2f} "
            f"| {roofline.milliseconds:.2f} | {took / roofline.milliseconds:.1f} "
            f"| {eager / took:.1f} |"
        )
    return rows


def run(device: torch.device, size: Size, networks: list[str], runs: int, deadline: float) -> None:
    """Check, then time, then print."""
    small = device.type == "cpu"
    cases = [
        Case(2, (9, 7), (36, 28), align_corners=False, dtype=torch.float32),
        Case(19, (9, 35), (35, 137), align_corners=True, dtype=torch.float32),
        Case(19, (9, 35), (36, 140), align_corners=False, dtype=torch.bfloat16),
        Case(150, (5, 6), (20, 24), align_corners=False, dtype=torch.float16),
    ]
    if not small:
        coarse = (size[0] // 4, size[1] // 4)
        odd = (size[0] - 3, size[1] - 5)
        cases += [
            Case(CLASSES, coarse, full, align_corners=align, dtype=dtype)
            for full, align in ((size, False), (size, True), (odd, False))
            for dtype in (torch.float32, torch.bfloat16)
        ]
        cases.append(Case(150, coarse, odd, align_corners=True, dtype=torch.float16))
    check_counting(device, cases)
    check_copies(device, (64, 128) if small else size)
    dtype = torch.float32 if small else torch.float16
    peaks = measure_peaks(
        device, dtype, side=64 if small else 8192, size=1 << (16 if small else 30)
    )
    counted = time_counting(device, size, peaks, runs)
    networked = []
    for backbone in networks:
        if time.monotonic() > deadline:
            print(f"{backbone} is left out: no time is left")
            continue
        networked += time_network(backbone, device, size, peaks, runs)
    if small:
        print("no GPU was found: not yet measured")
        return
    print(
        f"\nPeaks measured: {peaks.flops / 1e12:.0f} TFLOP/s in {dtype}, "
        f"{peaks.bytes / 1e12:.2f} TB/s\n\nCounting alone, {size[1]}x{size[0]}, ms\n"
    )
    print("| logits, labels | ms | ms, labels written | floor | ratio | peer ms | x peer |")
    print("|---|---|---|---|---|---|---|", *counted, sep="\n")
    print(f"\nFrame and labels in host memory to counts, {size[1]}x{size[0]}, ms a frame\n")
    print("| network | method | ms | floor | ratio | x peer |")
    print("|---|---|---|---|---|---|", *networked, sep="\n")


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
    if torch.cuda.is_available():
        device = torch.device("cuda:0")
        print(f"{describe()}, {torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}")
        run(device, tuple(arguments.size), arguments.networks, arguments.runs, deadline)
    else:
        print(f"{describe()}, PyTorch {torch.__version__}")
        torch.set_num_threads(1)
        run(torch.device("cpu"), (64, 128), arguments.networks[:1], 1, deadline)


if __name__ == "__main__":
    main()
