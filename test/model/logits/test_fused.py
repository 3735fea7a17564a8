from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.logits.counting import TIE, cells

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="not installed: triton"
)


def noise(n, shape, *, channels=None, images=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels or n, *shape, generator=generator)


def integers(n, shape):
    """Few different logits, which no interpolation by quarters rounds: many exact ties."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 3, (1, n, *shape), generator=generator).float()


def regions(n, shape):
    coarse = noise(n, (2, 3))
    return torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic")


def not_numbers(shape):
    logits = noise(4, shape)
    logits[0, 2, 2:4, 3] = float("nan")
    logits[0, 1, 2, 3] = float("nan")
    logits[0, 3, 0, 0] = float("inf")
    logits[0, :, 4, 5] = -float("inf")
    return logits


def truth_for(logits, n, size, *, ignored=0.2):
    generator = np.random.default_rng(0)
    truth = generator.integers(0, n, (len(logits), *size), np.uint8)
    truth[:, : size[0] // 2] = 0  # coherent in one half
    truth[generator.random(truth.shape) < ignored] = 255
    return torch.from_numpy(truth)


def case(logits, n, size, *, truth=None, **options):
    if truth is None:
        # With another index to be ignored, 255 would be an id that is no class.
        truth = truth_for(logits, n, size, ignored=0 if "ignore_index" in options else 0.2)
    return {"logits": logits, "truth": truth, "num_classes": n, **options}


CASES = {
    "stride 4": case(noise(19, (7, 9)), 19, (28, 36)),
    "stride 4, corners": case(noise(19, (7, 9)), 19, (28, 36), align_corners=True),
    "regions": case(regions(19, (9, 35)), 19, (36, 140)),
    "odd": case(noise(19, (5, 33)), 19, (19, 131)),
    "odd, corners": case(noise(19, (5, 33)), 19, (19, 131), align_corners=True),
    "two classes": case(noise(2, (6, 5)), 2, (23, 17)),
    "one class": case(noise(1, (3, 3)), 1, (7, 5)),
    "150 classes": case(noise(150, (4, 5)), 150, (16, 20)),
    "150 classes, corners": case(noise(150, (4, 5)), 150, (15, 19), align_corners=True),
    "255 classes": case(noise(255, (2, 3)), 255, (5, 9), ignore_index=-1),
    "equal size": case(noise(5, (9, 11)), 5, (9, 11)),
    "smaller": case(noise(5, (13, 17)), 5, (6, 7)),
    "much larger": case(noise(5, (2, 2)), 5, (31, 37)),
    "one pixel": case(noise(5, (1, 1)), 5, (9, 7)),
    "cropped": case(noise(5, (6, 7)), 5, (21, 26), stretched_size=(24, 28), align_corners=True),
    "batch": case(noise(5, (4, 5), images=3), 5, (16, 20)),
    "invalid": case(noise(5, (5, 6), channels=9), 5, (20, 24)),
    "ties": case(integers(6, (6, 7)), 6, (24, 28)),
    "all equal": case(torch.zeros(1, 6, 3, 3), 6, (12, 12)),
    "not numbers": case(not_numbers((6, 7)), 4, (24, 28)),
    "all ignored": case(
        noise(5, (4, 5)), 5, (16, 20), truth=torch.full((1, 16, 20), 255, dtype=torch.uint8)
    ),
    "class ignored": case(noise(5, (4, 5)), 5, (16, 20), ignore_index=0),
    "channels last": case(
        noise(19, (5, 6), images=2).to(memory_format=torch.channels_last), 19, (20, 24)
    ),
    "bfloat16": case(noise(19, (5, 6)).bfloat16(), 19, (20, 24)),
    "float16": case(noise(19, (5, 6)).half(), 19, (20, 24)),
    "strided truth": case(
        noise(5, (4, 5)), 5, (16, 20), truth=truth_for([0], 5, (20, 32)).transpose(1, 2)[:, ::2]
    ),
}
FOREIGN = case(noise(5, (4, 5)), 5, (16, 20), truth=torch.full((1, 16, 20), 7, dtype=torch.uint8))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interpreted")
    torch.save([dict(c) for c in (*CASES.values(), FOREIGN)], folder / "cases.pt")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("interpreted.py"), "cases.pt", "results.pt"],
        cwd=folder,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip((*CASES, "foreign"), torch.load(folder / "results.pt"), strict=True))


def python_path():
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def reference(logits, size, *, align_corners=False, stretched_size=None):
    """Return PyTorch's labels, and which of them are beyond a tie."""
    full = torch.nn.functional.interpolate(
        logits.float(), size=stretched_size or size, mode="bilinear", align_corners=align_corners
    )[:, :, : size[0], : size[1]]
    labels = full.argmax(1)
    if full.shape[1] == 1:
        return labels, torch.ones_like(labels, dtype=torch.bool)
    top = full.topk(2, dim=1).values
    return labels, ~(top[:, 0] - top[:, 1] <= TIE * logits.abs().max().float())


@pytest.mark.parametrize("name", CASES)
def test_labels_are_those_of_the_full_tensor(found, name):
    sizes = {k: v for k, v in CASES[name].items() if k in {"align_corners", "stretched_size"}}
    logits, truth = CASES[name]["logits"], CASES[name]["truth"]
    expected, clear = reference(logits, tuple(truth.shape[1:]), **sizes)
    labels = found[name]["labels"]
    if name in {"ties", "all equal", "not numbers"}:
        # Nothing is rounded in these, and the first of equals is to be taken.
        clear |= True
    assert torch.equal(labels[clear], expected[clear].to(torch.uint8))
    assert clear.float().mean() > 0.99


@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_the_labels(found, name):
    given, n = CASES[name], CASES[name]["num_classes"]
    labels = found[name]["labels"].to(torch.int32)
    for image, truth in enumerate(given["truth"]):
        expected = confusion_matrix(
            truth.numpy(), labels[image].numpy(), n, given.get("ignore_index", 255)
        )
        table = found[name]["tables"][image].numpy()
        np.testing.assert_array_equal(table[:-1].reshape(n, n + 1), expected)
        assert table[-1] == 0
    # Without writing labels, and all images into one table.
    assert torch.equal(found[name]["total"], found[name]["tables"].sum(0))


def test_ground_truth_that_is_no_class_goes_to_the_spare_cell(found):
    assert found["foreign"]["total"].tolist() == [0] * (cells(5) - 1) + [16 * 20]


def test_cases_reach_every_way_of_adding():
    """More different cells in a block than are summed beforehand, in columns and singly."""
    truth, logits = CASES["odd"]["truth"], CASES["odd"]["logits"]
    labels, _ = reference(logits, (19, 131))
    block = torch.stack([truth[0, 12:14, :128].long(), labels[0, 12:14, :128]])
    assert len(block.flatten(1).unique(dim=1).T) > 50


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from deeplab_miou.model.logits.fused import count_kernel as kernel
names = kernel.arg_names
types = dict.fromkeys(names, "i32") | {
    "logits": sys.argv[2], "truth": "*u8", "tables": "*i64", "labels": "*u8", "blocks": "*i32",
    "row_shares": "*fp32", "lefts": "*i32", "column_shares": "*fp32"}
fixed = {"CHANNELS": 19, "ROWS": 4, "COLUMNS": 128, "PEELS": 6, "LABELS": True, "truth_w": 1}
source = ASTSource(
    kernel, types | dict.fromkeys(fixed, "constexpr"), {(names.index(k),): fixed[k] for k in fixed})
built = compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32))
assert built.asm["cubin"] and "atom.global" in built.asm["ptx"]
"""


@pytest.mark.parametrize(("capability", "logits"), [("90", "*bf16"), ("75", "*fp16")])
def test_kernel_compiles_for_gpus(tmp_path, capability, logits):
    environment = {
        k: v for k, v in os.environ.items() if k not in {"TRITON_INTERPRET", "PYTHONPATH"}
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, capability, logits],
        env={**environment, "PYTHONPATH": python_path(), "TRITON_CACHE_DIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
