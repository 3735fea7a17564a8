"""Messages that a thread reads ahead: the same ones, and no thread is left."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from deeplab_miou.bags.ahead import reading_ahead
from deeplab_miou.errors import BagError


def threads():
    return [each for each in threading.enumerate() if each.name == "deeplab-miou-reader"]


def test_messages_are_the_same_and_read_by_another_thread():
    readers = set()

    def messages():
        for number in range(100):
            readers.add(threading.current_thread().name)
            yield number

    with reading_ahead(messages()) as found:
        assert list(found) == list(range(100))
    assert readers == {"deeplab-miou-reader"}
    assert not threads()


def test_an_error_comes_after_what_was_read_before_it():
    def messages():
        yield from range(20)
        raise BagError("damaged")

    found = []
    with reading_ahead(messages()) as ahead, pytest.raises(BagError, match="damaged"):
        deque(map(found.append, ahead), maxlen=0)
    assert found == list(range(20))
    assert not threads()


def test_leaving_early_ends_the_thread():
    read = []

    def messages():
        for number in range(10_000):
            read.append(number)
            yield number

    with reading_ahead(messages()) as found:
        next(found)
    assert not threads()
    assert len(read) < 100
