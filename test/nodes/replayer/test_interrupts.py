from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from deeplab_miou.nodes.replayer.interrupts import Interrupts


@pytest.fixture
def interrupts():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts = Interrupts()
    interrupts.listen()
    yield interrupts
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts(interrupts, number):
    assert interrupts
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_belongs_together_is_done_first(interrupts, number):
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held_back():  # noqa: PT012  two steps are the point
        os.kill(os.getpid(), number)
        done.append(number)
    assert done == [number]


def test_without_a_signal_nothing_happens(interrupts):
    with interrupts.held_back():
        pass


def test_ignored_at_the_end(interrupts):
    interrupts.ignore()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
