from __future__ import annotations

import threading

import pytest

from deeplab_miou.evaluation.queueing import Overflow, WorkQueue

DEADLINE_S = 10


def test_items_come_out_in_order_as_a_batch():
    queue = WorkQueue(4)
    for item in range(3):
        assert queue.put(item) == []
    assert queue.take(2, 0) == [0, 1]
    assert queue.take(2, 0) == [2]
    assert queue.take(2, 0) == []


def test_drop_oldest_keeps_the_newest():
    queue = WorkQueue(2, Overflow.DROP_OLDEST)
    assert [queue.put(item) for item in range(4)] == [[], [], [0], [1]]
    assert queue.take(9, 0) == [2, 3]


def test_drop_newest_keeps_what_waits():
    queue = WorkQueue(2, Overflow.DROP_NEWEST)
    assert [queue.put(item) for item in range(4)] == [[], [], [2], [3]]
    assert queue.take(9, 0) == [0, 1]


def paced():
    queue = WorkQueue(1)
    queue.pace(on=True)
    return queue


@pytest.fixture(params=[lambda: WorkQueue(1, Overflow.BLOCK), paced], ids=["block", "paced"])
def queue(request):
    """A queue of one that drops nothing."""
    return request.param()


def test_a_source_that_waits_for_room_loses_nothing(queue):
    done = threading.Event()
    most = []

    def produce():
        for item in range(0, 60, 3):
            for part in range(3):  # one message may complete several pairs
                assert queue.put(item + part) == []
            most.append(len(queue))
            queue.wait_for_room()
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    taken = []
    while len(taken) < 60:
        taken += queue.take(1, DEADLINE_S)
    producer.join(DEADLINE_S)
    assert done.is_set()
    assert taken == list(range(60))
    assert max(most) <= 3
    assert not queue.crowded


def test_interrupt_wakes_a_source_that_waits_for_room(queue):
    queue.put("first")
    assert queue.crowded
    producer = threading.Thread(target=queue.wait_for_room)
    producer.start()
    queue.interrupt(on=True)
    producer.join(DEADLINE_S)
    assert not producer.is_alive()
    assert queue.clear() == ["first"]


def test_a_queue_that_is_paced_no_longer_drops_again():
    queue = paced()
    for item in range(3):
        assert queue.put(item) == []
    queue.pace(on=False)
    assert not queue.crowded
    queue.wait_for_room()
    assert queue.put(3) == [0]


def test_take_wakes_when_an_item_comes():
    queue = WorkQueue(1)
    taken = []
    consumer = threading.Thread(target=lambda: taken.extend(queue.take(1, DEADLINE_S)))
    consumer.start()
    queue.put("item")
    consumer.join(DEADLINE_S)
    assert taken == ["item"]


def test_capacity_below_one_is_refused():
    with pytest.raises(ValueError, match="capacity is 0"):
        WorkQueue(0)
