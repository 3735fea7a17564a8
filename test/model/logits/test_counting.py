from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.logits import counting
from deeplab_miou.model.logits.counting import TIE, add_counts, cells, pick_method, to_matrix
from deeplab_miou.model.logits.interpolation import make_interpolation
from deeplab_miou.model.logits.upsampling import label_map, make_axis


def random_frames(n, shape, size, *, channels=None, images=1, seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.standard_normal((images, channels or n, *shape)).astype(np.float32)
    truth = generator.integers(0, n, (images, *size), np.uint8)
    truth[generator.random(truth.shape) < 0.1] = 255
    return torch.from_numpy(logits), torch.from_numpy(truth)


def count(logits, truth, n, **options):
    """Return one matrix an image, and the labels."""
    tables = torch.zeros(len(logits), cells(n), dtype=torch.int64)
    labels = torch.full(truth.shape, 99, dtype=torch.uint8)
    add_counts(logits, truth, tables, num_classes=n, labels=labels, **options)
    return [to_matrix(table.numpy(), n) for table in tables], labels


SIDES = st.integers(1, 12)


@settings(max_examples=120, deadline=None)
@given(
    n=st.sampled_from([1, 2, 5, 19]),
    more=st.integers(0, 3),
    sizes=st.tuples(st.tuples(SIDES, SIDES), st.tuples(st.integers(1, 40), st.integers(1, 40))),
    align_corners=st.booleans(),
    band=st.sampled_from([1, 200, 1 << 22]),
)
def test_counts_and_labels_are_those_of_the_full_tensor(n, more, sizes, align_corners, band):
    logits, truth = random_frames(n, *sizes, channels=n + more, images=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_BAND", band)
        matrices, labels = count(logits, truth, n, align_corners=align_corners)
    full = torch.nn.functional.interpolate(
        logits, size=sizes[1], mode="bilinear", align_corners=align_corners
    )
    if full.shape[1] > 1:
        top = full.topk(2, dim=1).values
        clear = top[:, 0] - top[:, 1] > TIE * logits.abs().max()
        assert torch.equal(labels[clear], full.argmax(1)[clear].to(torch.uint8))
    for matrix, true, predicted in zip(matrices, truth, labels, strict=True):
        expected = confusion_matrix(true.numpy(), predicted.numpy(), n)
        np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_are_those_of_the_cpu_path(align_corners):
    logits, truth = random_frames(19, (17, 23), (70, 91))
    _, labels = count(logits, truth, 19, align_corners=align_corners, stretched_size=(71, 92))
    axes = [
        make_axis(17, 71, align_corners=align_corners, kept=70),
        make_axis(23, 92, align_corners=align_corners, kept=91),
    ]
    expected = label_map(logits[0].permute(1, 2, 0).contiguous().numpy(), *axes)
    assert np.array_equal(labels[0].numpy(), expected)


def test_first_of_equals_wins():
    logits = torch.zeros(1, 4, 3, 3)
    logits[:, 2:] = 1
    _, labels = count(logits, torch.zeros(1, 12, 12, dtype=torch.uint8), 4)
    assert (labels == 2).all()


def test_ignore_index_wins_over_a_class():
    logits, truth = random_frames(5, (4, 4), (16, 16))
    truth[truth == 255] = 3
    tables = torch.zeros(1, cells(5), dtype=torch.int64)
    add_counts(logits, truth, tables, num_classes=5, ignore_index=3)
    matrix = to_matrix(tables[0].numpy(), 5, 3)
    assert not matrix[3].any()
    assert matrix.sum() == (truth != 3).sum()


def test_foreign_ground_truth_is_reported():
    logits, truth = random_frames(5, (4, 4), (16, 16))
    truth[0, 0, :3] = 9
    tables = torch.zeros(1, cells(5), dtype=torch.int64)
    add_counts(logits, truth, tables, num_classes=5)
    with pytest.raises(ValueError, match="ids below 5 or the ignore index 255, but 3 pixels"):
        to_matrix(tables[0].numpy(), 5)


def test_counts_hold_beyond_32_bits():
    tables = torch.full((1, cells(2)), 1 << 53)
    add_counts(*random_frames(2, (2, 2), (8, 8)), tables, num_classes=2)
    assert int((tables - (1 << 53)).sum()) <= 64
    assert int(tables.max()) > 1 << 53


class Recorder(TorchDispatchMode):
    """Notes every operation and the largest tensor made."""

    def __init__(self):
        super().__init__()
        self.names = set()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.add(func.name())
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def test_nothing_waits_for_the_device_and_nothing_is_large(monkeypatch):
    monkeypatch.setattr(counting, "_BAND", 19 * 128 * 4)
    logits, truth = random_frames(19, (16, 32), (64, 128))
    tables = torch.zeros(1, cells(19), dtype=torch.int64)
    with Recorder() as recorder:
        add_counts(logits, truth, tables, num_classes=19)
    assert recorder.largest <= 19 * 128 * 6, "a band, and the rows of logits around it"
    # These look at values to know a shape or a number: the host would wait for the device.
    waiting = {"nonzero", "masked_select", "bincount", "unique", "_local_scalar_dense", "histc"}
    assert not {name for name in recorder.names if name.partition("::")[2].split(".")[0] in waiting}


@pytest.mark.parametrize(
    ("logits", "truth", "labels", "message"),
    [
        (torch.zeros(5, 4, 4), torch.zeros(1, 8, 8), None, r"floats \(N, n, h, w\)"),
        (torch.zeros(1, 5, 0, 4), torch.zeros(1, 8, 8), None, r"floats \(N, n, h, w\)"),
        (torch.zeros(1, 300, 4, 4), torch.zeros(1, 8, 8), None, "at most 256 channels"),
        (torch.zeros(1, 5, 4, 4), torch.zeros(2, 8, 8), None, r"ground truth .* \(1, H, W\)"),
        (torch.zeros(1, 5, 4, 4), torch.zeros(1, 8, 8), torch.zeros(1, 8, 9), "labels must be"),
        (
            torch.zeros(1, 5, 4, 4),
            torch.zeros(1, 8, 8),
            torch.zeros(1, 8, 8).transpose(1, 2),
            "contiguous",
        ),
    ],
)
def test_wrong_arguments_are_named(logits, truth, labels, message):
    tables = torch.zeros(1, cells(5), dtype=torch.int64)
    labels = None if labels is None else labels.to(torch.uint8)
    with pytest.raises(ValueError, match=message):
        add_counts(logits, truth.to(torch.uint8), tables, num_classes=5, labels=labels)
    assert not tables.any()


def test_nothing_to_count():
    tables = torch.zeros(0, cells(5), dtype=torch.int64)
    add_counts(
        torch.zeros(0, 5, 4, 4), torch.zeros(0, 8, 8, dtype=torch.uint8), tables, num_classes=5
    )


def test_cpus_count_in_bands():
    assert pick_method(torch.device("cpu"), 5) is counting.count_in_bands


def test_kernel_is_left_where_it_fails_or_counts_wrongly(monkeypatch, caplog):
    device = torch.device("cuda:0")

    def fails(**_):
        raise RuntimeError("no C compiler\nmore")

    monkeypatch.setattr(counting, "find_method", fails)
    assert pick_method.__wrapped__(device, 3) is counting.count_in_bands
    assert "cuda:0: no C compiler" in caplog.messages[-1]
    monkeypatch.setattr(counting, "find_method", lambda *, fused: fused)
    monkeypatch.setattr(counting, "_counts_agree", lambda *_: False)
    assert pick_method.__wrapped__(device, 3) is counting.count_in_bands
    assert "its counts are wrong" in caplog.messages[-1]


def test_probe_tells_right_from_wrong():
    def shifted(logits, truth, *args, **options):
        counting.count_in_bands(logits.roll(1, 1), truth, *args, **options)

    cpu = torch.device("cpu")
    assert counting._counts_agree(counting.count_in_bands, cpu, 19)
    assert not counting._counts_agree(shifted, cpu, 19)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("height", "rows", "stretched_size"),
    [(5, 20, 20), (5, 18, 20), (1, 9, 9), (9, 4, 4), (3, 50, 50)],
)
def test_blocks_hold_every_row_once(height, rows, stretched_size, align_corners):
    found = make_interpolation(
        (height, 4),
        (rows, 16),
        torch.device("cpu"),
        align_corners=align_corners,
        stretched_size=(stretched_size, 16),
    )
    seen = []
    for first, count_, top in found.blocks.tolist():
        assert 1 <= count_ <= found.block_rows
        assert (found.tops[first : first + count_] == top).all()
        seen += range(first, first + count_)
    assert seen == list(range(rows))
    assert np.array_equal(found.tops.numpy(), found.host_tops)
