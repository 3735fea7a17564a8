"""Flow control of a replay, without ROS."""

import threading

import pytest

from deeplab_miou.accounting import StreamCounts
from deeplab_miou.pacing.accounts import EvaluatorAccount
from deeplab_miou.pacing.flow import FlowControl, StallError

IMAGE, LABEL = "/camera/image", "/camera/labels"
NAME = "/evaluator"


def state(images=0, labels=0, ended=0, *, run="a", reset=0, dropped=None, paced=True):
    """Return an account of an evaluator that has scored `ended` pairs."""
    dropped = dropped or {}
    lost = sum(dropped.values())
    return EvaluatorAccount(
        run,
        reset,
        StreamCounts(images, ended, images - ended - lost, dropped),
        StreamCounts(labels, ended, labels - ended - lost, dropped),
        paced,
    )


class SteppingClock:
    """A clock that a waiting thread moves itself, so that no test waits for real time."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return SteppingClock()


@pytest.fixture
def make_flow(clock, monkeypatch):
    def make_flow(before):
        made = FlowControl(
            {NAME: ([IMAGE, LABEL], before)}, in_flight=4, stall_timeout_s=30.0, clock=clock
        )

        def wait(timeout):
            clock.now_s += timeout

        monkeypatch.setattr(made._changed, "wait", wait)
        return made

    return make_flow


@pytest.fixture
def flow(make_flow):
    return make_flow(state())


def admitted(flow, *topics):
    """Send as much as goes without waiting, at most 50 messages; return how many went."""
    transits = list(flow._transits.values())
    count = 0
    while count < 50 and all(transit.admits for transit in transits):
        flow.acquire(topics[count % len(topics)])
        count += 1
    return count


def test_transit_counts_messages_of_both_topics(flow):
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(2, 1))
    assert admitted(flow, IMAGE, LABEL) == 3


def test_what_waits_in_the_evaluator_holds_nothing_back(flow):
    for received in range(1, 40):
        flow.acquire(IMAGE)
        flow.acquire(LABEL)
        flow.account(NAME, state(received, received))
    assert admitted(flow, IMAGE) == 4


def test_nothing_is_sent_to_an_evaluator_that_would_drop_it(flow, clock, monkeypatch):
    flow.account(NAME, state(run="b", paced=False))
    assert admitted(flow, IMAGE) == 0

    def notice(_timeout):
        clock.now_s += 1.0
        flow.account(NAME, state(run="b"))
        # Overtaken by the one before.
        flow.account(NAME, state(run="b", paced=False))

    monkeypatch.setattr(flow._changed, "wait", notice)
    flow.acquire(IMAGE)
    assert clock.now_s == 101.0


def test_counts_of_an_earlier_replay_are_not_ours(make_flow):
    flow = make_flow(state(300, 300, 300))
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(302, 302, 302))
    tally = flow.tallies()[NAME]
    assert (tally.images.received, tally.images.evaluated, tally.evaluated) == (2, 2, 302)
    assert admitted(flow, IMAGE, LABEL) == 4


def test_drop_of_the_first_message_of_a_fresh_evaluator_is_told(flow):
    flow.acquire(IMAGE)
    flow.account(NAME, state(1, 0, dropped={"bad_encoding": 1}))
    assert flow.tallies()[NAME].images.dropped == {"bad_encoding": 1}


def test_stall_names_what_is_missing(flow):
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(2, 1))
    with pytest.raises(StallError) as error:
        flow.wait_received()
    assert NAME in str(error.value)
    assert "no progress for 30 s" in str(error.value)
    assert f"2 on {IMAGE}, 2 on {LABEL}" in str(error.value)
    assert "2 images and 1 label" in str(error.value)
    assert "1 of those sent" in str(error.value)


def test_progress_puts_the_stall_off(flow, clock, monkeypatch):
    assert admitted(flow, IMAGE, LABEL) == 4
    received = iter(range(1, 5))

    def arrive(_timeout):
        clock.now_s += 29.0
        flow.account(NAME, state(next(received)))

    monkeypatch.setattr(flow._changed, "wait", arrive)
    flow.wait_received()
    assert clock.now_s == 100.0 + 4 * 29.0


def test_each_evaluator_that_receives_a_topic_holds_it_back(clock):
    flow = FlowControl(
        {
            "/front": (["/a", "/b"], state()),
            "/rear": (["/c", "/d"], state()),
            "/both": (["/a", "/c"], state()),
        },
        in_flight=2,
        stall_timeout_s=30.0,
        clock=clock,
    )
    flow.acquire("/a")
    flow.acquire("/c")
    assert not flow._transits["/both"].admits
    assert flow._transits["/front"].admits
    flow.acquire("/b")
    flow.acquire("/unrelated")
    assert flow._transits["/front"].sent == {"/a": 1, "/b": 1}


def test_reset_meanwhile_is_noted_and_does_not_block(flow):
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(0, 0, reset=1))
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(4, 4, 4, reset=1))
    flow.wait_received()
    tally = flow.tallies()[NAME]
    assert (tally.resets, tally.restarts, tally.images.evaluated) == (1, 0, 4)


def test_restart_meanwhile_is_noted(make_flow):
    flow = make_flow(state(3, 3, 3))
    flow.account(NAME, state(run="b"))
    assert flow.tallies()[NAME].restarts == 1


def test_the_last_accounts_of_a_run_that_is_over_may_come_late(flow):
    flow.account(NAME, state(1))
    flow.account(NAME, state(run="b"))
    flow.account(NAME, state(2))
    flow.account(NAME, state(1, run="b"))
    assert flow.tallies()[NAME].restarts == 1
    assert flow.tallies()[NAME].images.received == 1


def test_accounts_that_were_overtaken_are_ignored(flow):
    flow.account(NAME, state(5, 5, 3))
    flow.account(NAME, state(4, 4, 4))
    flow.account(NAME, state(5, 5, 2))
    assert flow.tallies()[NAME].evaluated == 3


def test_messages_of_somebody_else_are_noticed(flow):
    flow.acquire(IMAGE)
    flow.account(NAME, state(3, 0))
    assert flow.tallies()[NAME].foreign == 2
    flow.acquire(LABEL)
    assert flow._transits[NAME].outstanding == 1


def test_tally_tells_what_was_dropped_in_this_replay(make_flow):
    flow = make_flow(state(5, 5, 4, dropped={"bad_encoding": 1}))
    flow.acquire(IMAGE)
    flow.account(NAME, state(6, 5, 4, dropped={"bad_encoding": 1, "queue_full": 1}))
    assert flow.tallies()[NAME].images.dropped == {"queue_full": 1}


def test_idle_needs_an_account_with_nothing_waiting(flow):
    flow.account(NAME, state(2, 2, 1))
    assert not flow.idle(0.0)
    flow.account(NAME, state(2, 2, 2))
    assert flow.idle(0.0)


def test_a_waiting_player_is_woken_by_an_account():
    flow = FlowControl({NAME: ([IMAGE, LABEL], state())}, in_flight=1, stall_timeout_s=30.0)
    flow.acquire(IMAGE)
    player = threading.Thread(target=flow.acquire, args=(LABEL,))
    player.start()
    flow.account(NAME, state(1))
    player.join(10.0)
    assert not player.is_alive()
    assert flow._transits[NAME].sent == {IMAGE: 1, LABEL: 1}
