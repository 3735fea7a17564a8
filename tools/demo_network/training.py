"""Trains the demo's network from scratch on rendered drives: two CPU cores, a quarter of an hour.

One process renders new drives all the time, the other trains on what has arrived, so that few
pictures are seen twice. The length is a matter of time, not of steps, and what is in the pool at
a step depends on the machine: two trainings give networks of like quality, not the same bytes.
"""

from __future__ import annotations

import argparse
import copy
import math
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.labels.label_map import IGNORE_INDEX, LabelMap, load_label_map
from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.metric.scores import Scores, compute_scores
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.checkpoints.load import Preprocessing
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import DeepLabV3Plus
from deeplab_miou.model.segmenter import Segmenter
from demo_network.drives import (
    FRAMES_PER_DRIVE,
    HELD_OUT_DRIVES,
    HELD_OUT_SEED,
    SIZE,
    TRAINING_SEED,
    VALIDATION_SEED,
    FramePool,
    render_drive,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from deeplab_miou.model.checkpoints.load import Checkpoint

_INPUT = (360, 480)
_CROP = (256, 352)
_BATCH = 8
_FULL_BATCH = 4
_FULL_FROM = 0.8  # share of the time from which whole frames are seen
_PEAK_RATE = 4e-3
_WARM_UP = 0.04
_WEIGHT_DECAY = 1e-4
_EMA = 0.997
_RARE = {"sidewalk": 2.0, "pole": 3.0, "person": 4.0}  # weights in the cross-entropy
_FIRST_FRAMES = 64


def architecture(num_classes: int) -> Architecture:
    """Return the demo's network: MobileNetV2 at about a third of its width, a slim rest."""
    return Architecture(
        num_classes=num_classes,
        width=0.35,
        output_stride=16,
        aspp_width=64,
        aspp_convolution="separable",
        atrous_rates=(3, 6, 9),
        low_width=24,
        decoder_width=64,
        decoder_layers=2,
        decoder_convolution="separable",
    )


def evaluate(
    checkpoint: Checkpoint, first_seed: int, drives: int, label_map: LabelMap, frames: int
) -> tuple[Scores, int]:
    """Score a checkpoint on drives by the package's own metric, at the labels' size.

    Args:
        checkpoint: the network.
        first_seed: seed of the first drive; the others follow.
        drives: how many drives.
        label_map: the network's classes.
        frames: frames of each drive.

    Returns:
        The scores and the number of frames.
    """
    segmenter = Segmenter(checkpoint, device="cpu")
    classes = label_map.num_classes
    total = np.zeros((classes, classes + 1), np.int64)
    for seed in range(first_seed, first_seed + drives):
        for image, label in render_drive(seed, frames, label_map):
            prediction = segmenter.predict([image], [SIZE])[0]
            total += confusion_matrix(label, prediction, classes, IGNORE_INDEX)
    return compute_scores(total), drives * frames


def _loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return cross-entropy plus the soft Jaccard loss over the classes in the batch."""
    entropy = F.cross_entropy(logits, target, weights, ignore_index=IGNORE_INDEX)
    valid = target != IGNORE_INDEX
    shares = logits.softmax(1) * valid[:, None]
    classes = logits.shape[1]
    truth = F.one_hot(target.where(valid, classes), classes + 1)[..., :classes]
    truth = truth.permute(0, 3, 1, 2).to(shares.dtype)
    overlap = (shares * truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3))
    union = shares.sum((0, 2, 3)) + present - overlap
    jaccard = (overlap + 1) / (union + 1)
    return entropy + (1 - jaccard[present > 0]).mean()


def _rate(done: float) -> float:
    """Return the learning rate after a share of the time: a short rise, then a cosine to zero."""
    if done < _WARM_UP:
        return _PEAK_RATE * (0.05 + 0.95 * done / _WARM_UP)
    return _PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


@dataclass
class _Outcome:
    network: DeepLabV3Plus
    steps: int
    frames: int
    loss: float


def _train(
    label_map: LabelMap, preprocessing: Preprocessing, minutes: float, console: Console
) -> _Outcome:
    """Train for a time; returns the averaged weights."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(architecture(label_map.num_classes))
    # Even chances at first: the common initialisation begins with confident nonsense.
    torch.nn.init.normal_(network.decoder.classify.weight, std=0.01)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(requires_grad=False)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        groups,
        lr=_PEAK_RATE, weight_decay=_WEIGHT_DECAY,
    )  # fmt: skip
    names = label_map.class_names
    weights = torch.tensor([_RARE.get(name, 1.0) for name in names])
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    pool = FramePool(_INPUT)
    columns = (
        TextColumn("training"), BarColumn(), TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    steps, smooth = 0, float("nan")
    network.train()
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("training", total=60 * minutes, facts="first drives")
            begin = time.monotonic()
            pool.fill(_FIRST_FRAMES)
            while (done := (time.monotonic() - begin) / (60 * minutes)) < 1:
                pool.fill()
                whole = done >= _FULL_FROM
                images, target = pool.batch(
                    _FULL_BATCH if whole else _BATCH, _INPUT if whole else _CROP
                )
                for group in optimizer.param_groups:
                    group["lr"] = _rate(done)
                batch = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
                loss = _loss(network(batch), target, weights)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                steps += 1
                _average(average, network, min(_EMA, steps / (steps + 10)))
                value = float(loss.detach())
                smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
                facts = f"step {steps}  loss {smooth:.3f}  {pool.received} frames rendered"
                progress.update(task, completed=time.monotonic() - begin, facts=facts)
    finally:
        pool.close()
    return _Outcome(average.eval(), steps, pool.received, smooth)


@torch.no_grad()
def _average(average: DeepLabV3Plus, network: DeepLabV3Plus, keep: float) -> None:
    """Move the running average of weights and of batch statistics a little."""
    new = network.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[key], 1 - keep)


def _table(scores: Scores, names: Sequence[str], title: str) -> Table:
    table = Table(title=title)
    for column in ("class", "IoU", "precision", "recall"):
        table.add_column(column, justify="left" if column == "class" else "right")
    rows = zip(names, scores.iou, scores.precision, scores.recall, strict=True)
    for name, *values in rows:
        table.add_row(name, *(f"{100 * value:.1f}" for value in values))
    table.add_section()
    table.add_row("mean", f"{100 * scores.miou:.1f}", "", "")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save, score on held-out drives, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m demo_network.training", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--minutes", type=float, default=15.0, help="training time (default 15)")
    parser.add_argument("--threads", type=int, default=1, help="of the network; one core renders")
    parser.add_argument("--validate", action="store_true", help="score on the validation drives")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    console = Console()
    label_map = load_label_map("demo")
    preprocessing = Preprocessing(size=_INPUT)
    begin, begin_cpu = time.monotonic(), time.process_time()
    outcome = _train(label_map, preprocessing, options.minutes, console)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    provenance: dict[str, object] = {
        "command": f"python -m demo_network.training --minutes {options.minutes:g}",
        "data": "rendered road scenes (deeplab_miou.demo.scenes), 640x480",
        "training_seeds": [TRAINING_SEED, TRAINING_SEED + outcome.frames // FRAMES_PER_DRIVE],
        "frames_rendered": outcome.frames,
        "steps": outcome.steps,
        "final_loss": round(outcome.loss, 4),
        "wall_minutes": round((time.monotonic() - begin) / 60, 2),
        "cpu_minutes": round((time.process_time() - begin_cpu) / 60, 2),
        "renderer_cpu_minutes": round((children.ru_utime + children.ru_stime) / 60, 2),
        "parameters": sum(each.numel() for each in outcome.network.parameters()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    }

    def save() -> None:
        checkpoints.save(
            options.output, outcome.network,
            label_map=label_map, preprocessing=preprocessing, provenance=provenance,
        )  # fmt: skip

    save()
    seed = VALIDATION_SEED if options.validate else HELD_OUT_SEED
    what = "validation" if options.validate else "held-out"
    scores, frames = evaluate(
        checkpoints.load(options.output), seed, HELD_OUT_DRIVES, label_map, FRAMES_PER_DRIVE
    )
    provenance[what.replace("-", "_")] = {
        "seeds": [seed, seed + HELD_OUT_DRIVES - 1],
        "frames": frames,
        "label_size": list(SIZE),
        "miou": round(scores.miou, 4),
        "iou": {
            name: round(float(iou), 4)
            for name, iou in zip(label_map.class_names, scores.iou, strict=True)
        },
    }
    save()
    title = f"{frames} frames of {HELD_OUT_DRIVES} {what} drives, scored at 640x480"
    console.print(_table(scores, label_map.class_names, title))
    console.print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB, {provenance}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
