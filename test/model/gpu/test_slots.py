from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.model.gpu.slots import Slot


def make_arrays(count, *shape, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8))


def send(slot, groups):
    """Take groups to the device and a function of them back; return it and what it should be."""
    tensors = slot.upload(groups)
    sums = torch.stack([tensor.long().sum() for tensor in tensors])
    inverted = 255 - tensors[0]
    expected = [sum(int(array.sum()) for array in group) for group in groups]
    return slot.download([sums, inverted]), (expected, 255 - np.stack(groups[0]))


def check(results, expected):
    sums, inverted = results.take()
    assert sums.dtype == np.int64
    assert sums.tolist() == expected[0]
    np.testing.assert_array_equal(inverted, expected[1])


def test_groups_arrive_as_they_are(accelerator):
    reversed_channels = [array[..., ::-1] for array in make_arrays(2, 5, 7, 3)]
    gray = [np.broadcast_to(array, (4, 3, 1)) for array in make_arrays(1, 3, 1, seed=1)]
    read_only = [np.frombuffer(bytes(range(77)), np.uint8).reshape(7, 11)]
    groups = [reversed_channels, gray, read_only]
    tensors = Slot(accelerator).upload(groups)
    for tensor, group in zip(tensors, groups, strict=True):
        assert tensor.device == accelerator.device
        np.testing.assert_array_equal(tensor.cpu().numpy(), np.stack(group))
        assert (tensor.data_ptr() - tensors[0].data_ptr()) % 256 == 0, "not where devices read best"


@pytest.mark.parametrize("sizes", [(9, 9, 9, 9), (3, 5, 40, 4, 80, 80)], ids=["same", "growing"])
def test_results_stay_when_the_slot_is_used_again(accelerator, sizes):
    slot = Slot(accelerator)
    started = []
    for seed, size in enumerate(sizes):
        groups = [make_arrays(2, size, 6, 3, seed=seed), make_arrays(3, size, seed=seed + 100)]
        started.append(send(slot, groups))
    for results, expected in started:
        check(results, expected)
    for results, expected in started:
        assert results.done()
        check(results, expected)


def test_two_slots_take_turns(late):
    slots = [Slot(late), Slot(late)]
    started = [send(slots[i % 2], [make_arrays(1, 8, 9, seed=i)]) for i in range(6)]
    assert [results.done() for results, _ in started] == [True] * 4 + [False] * 2
    for results, expected in started:
        check(results, expected)


def test_nothing_is_waited_for_before_the_slot_is_needed(late):
    slot = Slot(late)
    results, expected = send(slot, [make_arrays(1, 8, 9)])
    assert late.reached == 0
    assert slot.busy
    assert not results.done()
    slot.finish()
    assert not slot.busy
    assert results.done()
    check(results, expected)


def test_upload_waits_for_what_reads_its_memory(late):
    slot = Slot(late)
    small, large = [make_arrays(1, 300)], [make_arrays(1, 3000)]
    first, _ = send(slot, small)
    second, _ = send(slot, small)
    assert late.waited_for[0] is None
    assert late.waited_for[1] is first._mark, "only for the batch before, not for all work"
    send(slot, large)
    assert late.waited_for[2] is None, "new memory may still be in use by anybody"
    slot.upload(small)  # and nothing more: the batch failed
    slot.upload(small)
    assert late.waited_for[3] is not second._mark
    assert late.waited_for[4] is None, "nobody knows when the failed batch is done"


def test_memory_grows_only(late):
    slot = Slot(late)
    send(slot, [make_arrays(1, 3000)])
    place = slot._device.data_ptr()
    for size in (10, 2000, 3000):
        (tensor,) = slot.upload([make_arrays(1, size)])
        assert tensor.data_ptr() == place
