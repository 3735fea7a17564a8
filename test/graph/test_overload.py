"""More frames than the device takes: bounded queue and age, counted losses, prompt answers and end.

Three times too many for a minute: `python bench/soak.py --overload 60`.
"""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from diagnostic_msgs.msg import DiagnosticArray
from graph_support import EVALUATOR, Camera, account, evaluator_with
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters

FRAME_S = 0.03
QUEUE = 4
LOAD_S = 3.0
# Small, so that the transport's shared memory holds many.
IDS = np.zeros((120, 160), np.uint8)


@pytest.fixture
def start(start_evaluator, tmp_path):
    """Start an evaluator that is slow, with a short queue of its own.

    Reliable delivery ends where the reader's history is full: a node that a busy machine does not
    let run for a second must find there what came meanwhile.
    """

    def start(**parameters):
        module = evaluator_with(
            tmp_path,
            "with open('turns', 'a') as turns:",
            "    print(time.monotonic(), file=turns)",
            f"time.sleep({FRAME_S} * len(images))",
        )
        return start_evaluator(module, **{"queue_size": QUEUE, **parameters})

    return start


class Load:
    """Publishes more and more frames."""

    def __init__(self, camera):
        self.camera = camera.listen()
        self.sent = 0

    def send(self):
        self.sent += 1
        self.camera.send(self.sent, IDS, IDS)

    def settled(self):
        """Return the state in which everything that was sent has ended."""
        return self.camera.state(
            lambda state: (
                state.images.received == state.labels.received == self.sent
                and not (state.images.waiting or state.labels.waiting)
            )
        )


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_three_times_too_many_frames(start, graph, tmp_path, overflow):
    start(overflow=overflow)
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    load = Load(Camera(graph))
    before = len((tmp_path / "turns").read_text().split())
    answers_s = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < LOAD_S:
        if load.sent < elapsed * 3 / FRAME_S:
            load.send()
        elif len(answers_s) < elapsed * 10:
            asked = time.monotonic()
            if len(answers_s) % 2:
                graph.call(GetState, f"{EVALUATOR}/get_state")
            else:
                graph.call(GetParameters, f"{EVALUATOR}/get_parameters")
            answers_s.append(time.monotonic() - asked)
        else:
            time.sleep(0.001)
    state = load.settled()
    counts = account(state.images)
    assert counts == {"queue_full": state.images.received - state.images.evaluated}
    assert account(state.labels) == counts
    assert counts["queue_full"] > state.images.evaluated
    # Whatever became of it, every frame was told, in order and once.
    told = load.camera.frames
    told.wait(lambda score: score.sequence == load.sent)
    assert sorted(score.sequence for score in told.messages) == [*range(1, load.sent + 1)]
    evaluated = [score for score in told.messages if score.outcome == "evaluated"]
    stamps = [score.header.stamp.sec for score in evaluated]
    assert stamps == sorted(stamps)
    check_age(evaluated, (tmp_path / "turns").read_text().split()[before:])
    assert np.median(answers_s) < 0.2
    # In the queue, in work and prepared, being added and being dropped: whatever came to wait with
    # its partner. How far one topic is ahead of the other is the machine's affair.
    paired = [min(m.images.waiting, m.labels.waiting) for m in load.camera.states.messages]
    assert max(paired) <= QUEUE + 4
    own = [m for m in diagnostics.messages if m.status[0].name.startswith(EVALUATOR)]
    assert len(own) >= LOAD_S - 1
    assert any("queue_full" in m.status[0].message for m in own)
    values = [{pair.key: pair.value for pair in m.status[0].values} for m in own]
    assert max(int(told["pairs in queue"]) for told in values) <= QUEUE


def check_age(evaluated, turns):
    """Check that no frame was older, when its turn came, than a queue of frames takes.

    In turns of the device, not in seconds, because a busy machine may let the node wait.
    """
    assert len(evaluated) == len(turns)
    turns_s = np.array(turns, float)
    arrivals_s = turns_s - [score.queue_seconds for score in evaluated]
    # The full queue, the one in work, and the one that is prepared meanwhile.
    ahead = QUEUE + 2
    assert np.all(arrivals_s[ahead:] >= turns_s[:-ahead])


def test_block_loses_nothing_and_services_answer_meanwhile(start, graph):
    start(overflow="block")
    load = Load(Camera(graph))
    for _ in range(40):
        load.send()
    asked = time.monotonic()
    graph.call(GetParameters, f"{EVALUATOR}/get_parameters")
    assert time.monotonic() - asked < 40 * FRAME_S / 2
    load.camera.frames.wait(lambda score: score.sequence == 40)
    state = load.settled()
    assert state.images.evaluated == 40
    assert not account(state.images)


def test_ends_in_time_under_load(start, graph):
    node = start(overflow="block", queue_size=100)
    load = Load(Camera(graph))
    for _ in range(300):
        load.send()
    load.camera.frames.wait()
    code, _ = node.stop()
    assert code == 0
    # It finishes what is in hand, and not the queue.
    (line,) = node.lines("frames evaluated of")
    assert int(re.search(r"(\d+) frames evaluated", line)[1]) < 100
