"""Flow control of a replay, without ROS."""

import threading

import pytest

from deeplab_miou.accounting import StreamCounts
from deeplab_miou.pacing.accounts import EvaluatorAccount
from deeplab_miou.pacing.flow import FlowControl, StallError

IMAGE, LABEL = "/camera/image", "/camera/labels"
NAME = "/evaluator"


def state(images=0, labels=0, ended=0, *, run="a", reset=0, dropped=None):
    """Return an account of an evaluator that has scored `ended` pairs."""
    dropped = dropped or {}
    lost = sum(dropped.values())
    return EvaluatorAccount(
        run,
        reset,
        StreamCounts(images, ended, images - ended - lost, dropped),
        StreamCounts(labels, ended, labels - ended - lost, dropped),
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
def flow(clock, monkeypatch):
    made = FlowControl({NAME: [IMAGE, LABEL]}, in_flight=4, stall_timeout_s=30.0, clock=clock)

    def wait(timeout):
        clock.now_s += timeout

    monkeypatch.setattr(made._changed, "wait", wait)
    return made


def admitted(flow, *topics):
    """Send as much as goes without waiting, at most 50 messages; return how many went."""
    windows = list(flow._windows.values())
    count = 0
    while count < 50 and all(flow._admits(window) for window in windows):
        flow.acquire(topics[count % len(topics)])
        count += 1
    return count


def test_window_counts_messages_of_both_topics(flow):
    flow.account(NAME, state())
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(2, 1))
    # Three arrived; one pair is in work, so that two more may go beside the one on its way.
    assert admitted(flow, IMAGE, LABEL) == 2


def test_pairs_in_work_hold_back_until_their_outcomes(flow):
    flow.account(NAME, state())
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(2, 2))
    assert admitted(flow, IMAGE, LABEL) == 2
    flow.account(NAME, state(3, 3))
    assert admitted(flow, IMAGE, LABEL) == 1
    flow.outcome(NAME, "pair", "a", 0)
    flow.outcome(NAME, "pair", "a", 0)
    assert admitted(flow, LABEL, IMAGE) == 2


def test_outcomes_that_an_account_knew_of_count_once(flow):
    flow.account(NAME, state())
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(2, 2))
    assert admitted(flow, IMAGE, LABEL) == 2
    flow.account(NAME, state(3, 3, 2))
    flow.outcome(NAME, "pair", "a", 0)
    flow.outcome(NAME, "pair", "a", 0)
    flow.outcome(NAME, "pair", "before", 0)
    assert flow._windows[NAME].pairs == 1
    assert admitted(flow, IMAGE, LABEL) == 3


def test_images_without_labels_are_no_pairs(flow):
    flow.account(NAME, state())
    for received in range(1, 40):
        flow.acquire(IMAGE)
        flow.account(NAME, state(images=received))
    assert admitted(flow, IMAGE) == 4


def test_what_waits_for_partners_that_never_come_gives_way(flow, clock):
    flow.account(NAME, state())
    sent = 0
    for _ in range(20):  # stamps that never match: all images and labels are held
        for topic in (IMAGE, LABEL):
            flow.acquire(topic)
            sent += 1
        flow.account(NAME, state(sent // 2, sent // 2))
    assert sent == 40
    assert clock.now_s - 100.0 < 10.0


def test_counts_of_an_earlier_replay_are_not_ours(flow):
    flow.account(NAME, state(300, 300, 300))
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(302, 302, 302))
    tally = flow.tallies()[NAME]
    assert (tally.images.received, tally.images.evaluated, tally.evaluated) == (2, 2, 302)
    assert admitted(flow, IMAGE, LABEL) == 4


def test_first_account_may_come_after_the_first_message(flow):
    assert admitted(flow, IMAGE, LABEL) == 1
    flow.account(NAME, state(301, 300, 300))
    assert flow._windows[NAME].outstanding == 0
    flow.acquire(LABEL)
    flow.account(NAME, state(301, 301, 301))
    assert flow.tallies()[NAME].images.evaluated == 1


def test_drop_of_the_first_message_of_a_fresh_evaluator_is_told(flow):
    flow.acquire(IMAGE)
    flow.account(NAME, state(1, 0, dropped={"bad_encoding": 1}))
    assert flow.tallies()[NAME].images.dropped == {"bad_encoding": 1}


def test_first_account_from_before_the_first_message_corrects_itself(flow):
    flow.acquire(IMAGE)
    flow.account(NAME, state(300, 300, 300))
    flow.account(NAME, state(301, 300, 300))
    assert flow._windows[NAME].outstanding == 0
    flow.acquire(LABEL)
    assert flow._windows[NAME].outstanding == 1
    assert flow.tallies()[NAME].surplus == 0


@pytest.mark.parametrize("before", [0, 300])
def test_an_old_account_makes_no_surplus(flow, before):
    flow.acquire(IMAGE)
    flow.account(NAME, state(before, before, before))
    flow.account(NAME, state(before + 1, before, before))
    flow.acquire(LABEL)
    flow.account(NAME, state(before + 1, before + 1, before + 1))
    tally = flow.tallies()[NAME]
    assert (tally.surplus, tally.images.evaluated) == (0, 1)
    assert flow.done() == (before + 1, before + 1, before + 1)


def test_an_evaluator_that_hears_us_late_gets_a_second_message(flow, clock):
    flow.acquire(IMAGE)
    flow.acquire(LABEL)
    assert 0.9 < clock.now_s - 100.0 < 2.0
    assert flow._windows[NAME].sent.total() == 2


def test_stall_names_what_is_missing(flow):
    flow.account(NAME, state())
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(2, 1))
    with pytest.raises(StallError) as error:
        flow.wait_received()
    assert NAME in str(error.value)
    assert "no progress for 30 s" in str(error.value)
    assert f"2 on {IMAGE}, 2 on {LABEL}" in str(error.value)
    assert "2 images and 1 labels" in str(error.value)
    assert "1 of those sent" in str(error.value)


def test_progress_puts_the_stall_off(flow, clock, monkeypatch):
    flow.account(NAME, state())
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
        {"/front": ["/a", "/b"], "/rear": ["/c", "/d"], "/both": ["/a", "/c"]},
        in_flight=2,
        stall_timeout_s=30.0,
        clock=clock,
    )
    for name in ("/front", "/rear", "/both"):
        flow.account(name, state())
    flow.acquire("/a")
    flow.acquire("/c")
    assert not flow._admits(flow._windows["/both"])
    assert flow._admits(flow._windows["/front"])
    flow.acquire("/b")
    flow.acquire("/unrelated")
    assert flow._windows["/front"].sent == {"/a": 1, "/b": 1}


def test_reset_meanwhile_is_noted_and_does_not_block(flow):
    flow.account(NAME, state())
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(0, 0, reset=1))
    assert admitted(flow, IMAGE, LABEL) == 4
    flow.account(NAME, state(4, 4, 4, reset=1))
    flow.wait_received()
    tally = flow.tallies()[NAME]
    assert (tally.resets, tally.restarts, tally.images.evaluated) == (1, 0, 4)


def test_restart_meanwhile_is_noted(flow):
    flow.account(NAME, state(3, 3, 3))
    flow.account(NAME, state(run="b"))
    assert flow.tallies()[NAME].restarts == 1


def test_accounts_that_were_overtaken_are_ignored(flow):
    flow.account(NAME, state(5, 5, 3))
    flow.account(NAME, state(4, 4, 4))
    flow.account(NAME, state(5, 5, 2))
    assert flow.tallies()[NAME].evaluated == 3


def test_messages_of_somebody_else_are_noticed(flow):
    flow.account(NAME, state())
    flow.acquire(IMAGE)
    flow.account(NAME, state(3, 0))
    assert flow.tallies()[NAME].surplus == 2
    flow.acquire(LABEL)
    assert flow._windows[NAME].outstanding == 1


def test_tally_tells_what_was_dropped_in_this_replay(flow):
    flow.account(NAME, state(5, 5, 4, dropped={"bad_encoding": 1}))
    flow.acquire(IMAGE)
    flow.account(NAME, state(6, 5, 4, dropped={"bad_encoding": 1, "queue_full": 1}))
    assert flow.tallies()[NAME].images.dropped == {"queue_full": 1}


def test_idle_needs_an_account_with_nothing_waiting(flow):
    assert not flow.idle(0.0)
    flow.account(NAME, state(2, 2, 1))
    assert not flow.idle(0.0)
    flow.account(NAME, state(2, 2, 2))
    assert flow.idle(0.0)


def test_a_waiting_player_is_woken_by_an_account():
    flow = FlowControl({NAME: [IMAGE, LABEL]}, in_flight=1, stall_timeout_s=30.0)
    flow.account(NAME, state())
    flow.acquire(IMAGE)
    player = threading.Thread(target=flow.acquire, args=(LABEL,))
    player.start()
    flow.account(NAME, state(1))
    player.join(10.0)
    assert not player.is_alive()
    assert flow._windows[NAME].sent == {IMAGE: 1, LABEL: 1}
