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


def test_block_waits_for_room_and_loses_nothing():
    queue = WorkQueue(1, Overflow.BLOCK)
    done = threading.Event()

    def produce():
        for item in range(50):
            assert queue.put(item) == []
        done.set()

    producer = threading.Thread(target=produce)
    producer.start()
    taken = []
    while len(taken) < 50:
        taken += queue.take(1, DEADLINE_S)
    producer.join(DEADLINE_S)
    assert done.is_set()
    assert taken == list(range(50))


def test_interrupt_wakes_a_blocked_producer_which_gets_its_item_back():
    queue = WorkQueue(1, Overflow.BLOCK)
    queue.put("first")
    returned = []
    producer = threading.Thread(target=lambda: returned.append(queue.put("second")))
    producer.start()
    queue.interrupt(on=True)
    producer.join(DEADLINE_S)
    assert returned == [["second"]]
    assert queue.clear() == ["first"]


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
