from __future__ import annotations

import threading

from deeplab_miou.nodes.lifecycle.gate import Gate

DEADLINE_S = 20.0


def test_closed_at_first_and_whenever_it_was_closed():
    gate = Gate()
    with gate.enter() as is_admitted:
        assert not is_admitted
    gate.open()
    with gate.enter() as is_admitted:
        assert is_admitted
    gate.close()
    with gate.enter() as is_admitted:
        assert not is_admitted


def test_to_close_is_to_wait_for_those_inside():
    gate = Gate()
    gate.open()
    closed = threading.Event()

    def close():
        gate.close()
        closed.set()

    closer = threading.Thread(target=close)
    with gate.enter(), gate.enter():
        closer.start()
        while True:  # until it has begun to close
            with gate.enter() as is_admitted:
                if not is_admitted:
                    break
        assert not closed.is_set()
    assert closed.wait(DEADLINE_S)
    closer.join()
