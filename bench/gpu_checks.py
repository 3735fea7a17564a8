"""What `gpu.py` checks before it times: counts, labels, and that nothing waits for the GPU."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

if not torch.cuda.is_available():
    # Before Triton is first imported: the kernel then runs in Triton's interpreter.
    os.environ["TRITON_INTERPRET"] = "1"

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.gpu.accelerator import CpuAccelerator
from deeplab_miou.model.logits import counting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.metric.frame_scores import PendingScores, Scored
    from deeplab_miou.model.gpu.accelerator import Mark

    Size = tuple[int, int]
    Ids = NDArray[np.uint8]
    Frames = tuple[Sequence[Ids], Sequence[Ids]]

CLASSES = 19
IGNORE = 255
POISON = 1 << 41
# Labels of a faster network that have to be those of float32.
AGREEMENT = 0.999


class Scorer(Protocol):
    """A `Segmenter`, or what it has inside."""

    def score(
        self,
        images: Sequence[Ids],
        ground_truths: Sequence[Ids],
        ignore_index: int,
        *,
        keep_predictions: bool,
    ) -> PendingScores:
        """Start to score a batch."""


class Way(Protocol):
    """`one_by_one` or `pipelined`."""

    def __call__(
        self, scorer: Scorer, batches: Iterable[Frames], *, keep_predictions: bool
    ) -> Iterator[Scored]:
        """Score batches."""


class Case(NamedTuple):
    """Logits to count."""

    classes: int
    coarse: Size
    size: Size
    align_corners: bool
    dtype: torch.dtype


def make_cases(size: Size | None) -> list[Case]:
    """Return small cases, and those of a size of frame."""
    cases = [
        Case(2, (9, 7), (36, 28), align_corners=False, dtype=torch.float32),
        Case(19, (9, 35), (35, 137), align_corners=True, dtype=torch.float32),
        Case(19, (9, 35), (36, 140), align_corners=False, dtype=torch.bfloat16),
        Case(150, (5, 6), (20, 24), align_corners=False, dtype=torch.float16),
    ]
    if size is None:
        return cases
    coarse = (size[0] // 4, size[1] // 4)
    odd = (size[0] - 3, size[1] - 5)
    cases += [
        Case(CLASSES, coarse, full, align_corners=align, dtype=dtype)
        for full, align in ((size, False), (size, True), (odd, False))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    return [*cases, Case(150, coarse, odd, align_corners=True, dtype=torch.float16)]


def regions(size: Size, classes: int, *, cell: int, images: int = 1) -> Ids:
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


def one_by_one(
    scorer: Scorer, batches: Iterable[Frames], *, keep_predictions: bool
) -> Iterator[Scored]:
    """Score batches, each when the one before is done."""
    for images, truths in batches:
        yield from scorer.score(images, truths, IGNORE, keep_predictions=keep_predictions).result()


def pipelined(
    scorer: Scorer, batches: Iterable[Frames], *, keep_predictions: bool
) -> Iterator[Scored]:
    """Score batches as the live worker does: the next is started before the last is asked for."""
    earlier: PendingScores | None = None
    for images, truths in batches:
        scoring = scorer.score(images, truths, IGNORE, keep_predictions=keep_predictions)
        if earlier is not None:
            yield from earlier.result()
        earlier = scoring
        if scoring.done():
            yield from scoring.result()
            earlier = None
    if earlier is not None:
        yield from earlier.result()


def check_scores(
    scorer: Scorer, frames: list[tuple[Ids, Ids, Ids]], batch: int, device: torch.device
) -> None:
    """Compare counts with the labels that were counted, and these with float32's.

    Args:
        scorer: what is checked.
        frames: images, ground truths, float32's labels: different ones of one size, so that a
            result left from another frame shows.
        batch: frames in a batch.
        device: of the scorer.
    """
    images, truths, expected = zip(*frames, strict=True)
    order = [i for _ in range(batch) for i in range(len(images))]
    parts = [order[i : i + batch] for i in range(0, len(order), batch)]
    batches = [([images[i] for i in part], [truths[i] for i in part]) for part in parts]
    least = 1.0
    for way in (one_by_one, pipelined):
        poison(device, truths[0].shape)
        seen = list(way(scorer, batches, keep_predictions=True))
        poison(device, truths[0].shape)
        with no_waiting(device):
            unseen = list(way(scorer, batches, keep_predictions=False))
        assert len(seen) == len(unseen) == len(order), "frames are missing"
        for index, with_labels, without in zip(order, seen, unseen, strict=True):
            labels = with_labels.prediction
            assert labels is not None, "labels were to be kept"
            assert without.prediction is None, "labels that nobody wanted"
            right = confusion_matrix(truths[index], labels, CLASSES)
            assert np.array_equal(with_labels.matrix, right), "counts are not those of the labels"
            assert np.array_equal(without.matrix, right), "counts differ where nobody watches"
            least = min(least, float((labels == expected[index]).mean()))
    assert least >= AGREEMENT, f"only {100 * least:.3f} % of float32's labels"
    print(
        f"check: batches of {batch}, one by one and pipelined, with and without labels: exact "
        f"counts, {100 * least:.3f} % of float32's labels or more"
    )


class LateAccelerator(CpuAccelerator):
    """A CPU that claims to be at work until it is waited for; its memory holds other values."""

    def host_memory(self, size: int) -> Tensor:
        """Return filled memory."""
        return super().host_memory(size).fill_(201)

    def mark(self) -> Mark:
        """Return a mark that is reached when somebody waits for it."""
        return _LateMark()


class _LateMark:
    def __init__(self) -> None:
        self._reached = False

    def query(self) -> bool:
        return self._reached

    def synchronize(self) -> None:
        self._reached = True


@contextlib.contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Make whatever has PyTorch wait for the GPU an error; waiting for an event is none."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def poison(device: torch.device, size: Size) -> None:
    """Leave other values where the next results may be allocated."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    for frames in (1, 2, 4):
        for dtype in (torch.uint8, torch.int64):
            shape = size if dtype == torch.uint8 else (counting.cells(CLASSES),)
            torch.full((frames, *shape), 201, dtype=dtype, device=device)
