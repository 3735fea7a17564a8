from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_miou.accounting import Account, StreamCounts
from deeplab_miou.aggregation import admission, runs
from deeplab_miou.aggregation.aggregate import Aggregate, News
from deeplab_miou.aggregation.messages import (
    EvaluatorState,
    FrameRecord,
    RefusedError,
    RunSnapshot,
)
from deeplab_miou.aggregation.results import Scoring
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.confusion import to_cells
from deeplab_miou.metric.counts import Counts

NAMES = ("road", "car", "sky")
# The worked example: prediction [0, 1, 2, 0, 1], ground truth [0, 1, 1, 0, 2].
EXAMPLE = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], np.int64)


def state(source="/e", run="r", reset_count=0, sequence=1, matrix=EXAMPLE, **fields):
    counted, told = (
        {key: fields.pop(key) for key in keys if key in fields}
        for keys in (("ignored", "unmapped"), ("account", "frame_sequence", "stamp_ns"))
    )
    counts = Counts(np.asarray(matrix), fields.pop("frames", 1), **counted)
    fields = {"class_names": NAMES, **fields}
    return EvaluatorState(source, sequence, RunSnapshot(run, reset_count, counts, **told), **fields)


def frame(sequence, *, source="/e", run="r", reset_count=0, matrix=EXAMPLE, **fields):
    cells, counts = to_cells(np.asarray(matrix))
    fields = {"stamp_ns": sequence * 10**9, "evaluated": True, **fields}
    return FrameRecord(
        source=source,
        run_id=run,
        reset_count=reset_count,
        sequence=sequence,
        cells=cells,
        counts=counts,
        **fields,
    )


def history(draw, source, run):
    """Return the states of one run: counts grow, a reset starts again from zero."""
    states = []
    reset_count, matrix, frames = 0, np.zeros((3, 4), np.int64), 0
    for sequence in range(1, draw(st.integers(1, 6)) + 1):
        if draw(st.integers(0, 4)) == 0:
            reset_count, matrix, frames = reset_count + 1, np.zeros((3, 4), np.int64), 0
        matrix = matrix.copy()
        matrix[draw(st.integers(0, 2)), draw(st.integers(0, 3))] += draw(st.integers(0, 50))
        frames += draw(st.integers(0, 2))
        waiting = draw(st.integers(0, 3))
        states.append(
            state(
                source,
                run,
                reset_count,
                sequence,
                matrix,
                frames=frames,
                ignored=2 * frames,
                unmapped=frames,
                stamp_ns=10 * frames,
                account=Account(StreamCounts(frames + waiting, frames, waiting)),
            )
        )
    return states


@st.composite
def deliveries(draw):
    """Return all states in sending order, and what arrived: reordered, repeated, some lost."""
    sent = [
        state
        for source in ("/a", "/b")
        for run in ("1", "2", "3")[: draw(st.integers(1, 3))]
        for state in history(draw, source, run)
    ]
    return sent, draw(st.lists(st.sampled_from(sent), min_size=1, max_size=3 * len(sent)))


def newest(states):
    runs = {}
    for one in states:
        key = one.key
        if key not in runs or one.order > runs[key].order:
            runs[key] = one
    return list(runs.values())


def assert_sum(totals, states):
    assert totals.counts.matrix.tolist() == sum(s.run.counts.matrix for s in states).tolist()
    assert totals.counts.frames == sum(s.run.counts.frames for s in states)
    assert totals.counts.ignored == sum(s.run.counts.ignored for s in states)
    assert totals.counts.unmapped == sum(s.run.counts.unmapped for s in states)
    assert totals.account.images.received == sum(s.run.account.images.received for s in states)
    assert totals.account.images.waiting == sum(s.run.account.images.waiting for s in states)


@given(deliveries())
def test_any_order_repetition_and_loss_gives_the_sum_of_the_newest(delivery):
    _, arrived = delivery
    sums = Aggregate()
    for one in arrived:
        sums.add_state(one, 0.0)
    assert_sum(sums.totals(0.0), newest(arrived))
    assert sums.totals(0.0).sources == tuple(sorted({s.source for s in arrived}))
    assert sums.refused == {}


@given(deliveries(), st.data())
@settings(max_examples=50)
def test_after_a_reset_only_what_is_new_counts(delivery, data):
    _, arrived = delivery
    at = data.draw(st.integers(0, len(arrived)))
    # A reset closes runs that a restart ended; those are tested below.
    arrived = [one for one in arrived if one.run.run_id == "1"]
    before, after = arrived[:at], arrived[at:]
    sums = Aggregate()
    for one in before:
        sums.add_state(one, 0.0)
    sums.reset()
    assert not sums.totals(0.0).counts.matrix.any()
    for one in after:
        sums.add_state(one, 0.0)
    bases = {(s.source, s.run.run_id, s.run.reset_count): s for s in newest(before)}
    expected = np.zeros((3, 4), np.int64)
    frames = 0
    for one in newest(arrived):
        base = bases.get((one.source, one.run.run_id, one.run.reset_count))
        expected += one.run.counts.matrix - (0 if base is None else base.run.counts.matrix)
        frames += one.run.counts.frames - (0 if base is None else base.run.counts.frames)
    totals = sums.totals(0.0)
    if totals.class_names:
        assert totals.counts.matrix.tolist() == expected.tolist()
        images = totals.account.images
        assert images.received == images.evaluated + images.waiting
    assert totals.counts.frames == frames


def test_worked_example():
    sums = Aggregate()
    sums.add_state(state(), 0.0)
    result = sums.result(0.0)
    assert result.scores.miou == pytest.approx(4 / 9)
    assert result.totals.class_names == NAMES


def test_before_the_first_state_there_are_no_scores():
    sums = Aggregate()
    for result in (sums.result(0.0), sums.window(0.0)):
        assert math.isnan(result.scores.miou)
        assert result.scores.iou.shape == (0,)
    assert sums.totals(0.0).class_names == ()


def test_restart_adds_and_a_late_state_of_the_old_run_still_counts():
    sums = Aggregate()
    sums.add_state(state(run="old", sequence=1), 0.0)
    sums.add_state(state(run="new", sequence=1), 0.0)
    sums.add_state(state(run="old", sequence=2, matrix=2 * EXAMPLE, frames=2), 0.0)
    assert sums.totals(0.0).counts.frames == 3
    assert sums.totals(0.0).counts.matrix.tolist() == (3 * EXAMPLE).tolist()


def test_evaluators_of_the_same_name_are_a_doubt():
    sums = Aggregate()
    for sequence in (1, 2):
        for run in ("a", "b"):
            sums.add_state(state(run=run, sequence=sequence), 0.0)
    assert not sums.totals(0.0).doubts, "of two runs, the earlier may end a little late"
    sums.add_state(state("/other", sequence=1), 0.0)
    sums.add_state(state(run="a", sequence=3), 0.0)
    (doubt,) = sums.totals(0.0).doubts
    assert doubt.startswith("several evaluators run under the name /e, and")
    sums.reset()
    assert not sums.totals(0.0).doubts


def test_another_configuration_replaces_what_its_source_counted():
    sums = Aggregate()
    sums.add_state(state(run="old", configuration="a"), 0.0)
    sums.add_state(state(source="/other", configuration="a"), 0.0)
    news = sums.add_state(state(run="new", configuration="b", matrix=2 * EXAMPLE), 1.0)
    assert news is News.REPLACEMENT
    totals = sums.totals(1.0)
    assert totals.counts.matrix.tolist() == (3 * EXAMPLE).tolist()
    assert not sums.add_state(state(run="old", sequence=9, configuration="a"), 2.0)
    assert sums.totals(2.0).counts.matrix.tolist() == (3 * EXAMPLE).tolist()


def test_another_configuration_may_bring_other_classes():
    sums = Aggregate()
    sums.add_state(state(run="old", configuration="a"), 0.0)
    names, matrix = ("a", "b"), [[1, 0, 0], [0, 1, 0]]
    sums.add_state(state(run="new", configuration="b", matrix=matrix, class_names=names), 1.0)
    assert sums.totals(1.0).class_names == names


def test_another_configuration_replaces_what_was_folded(monkeypatch):
    monkeypatch.setattr(runs, "_MAX_FINISHED_RUNS", 2)
    sums = Aggregate()
    for source in ("/e", "/other"):
        for i in range(6):
            sums.add_state(state(source, str(i), configuration="a"), 0.0)
    assert len(sums._runs) < 12
    assert sums.totals(0.0).counts.frames == 12
    sums.add_state(state(run="new", configuration="b"), 1.0)
    totals = sums.totals(1.0)
    assert totals.counts.frames == 6 + 1
    assert totals.counts.matrix.tolist() == (7 * EXAMPLE).tolist()
    assert totals.sources == ("/e", "/other")


@pytest.mark.parametrize("names", [NAMES, ("a", "b", "c")])
def test_a_node_configured_anew_replaces_its_earlier_processes_too(names):
    sums = Aggregate()
    sums.add_state(state(run="old", configuration="a"), 0.0)
    sums.add_state(state(run="new", configuration="a"), 0.0)
    assert sums.totals(0.0).counts.frames == 2
    again = state(run="new", reset_count=1, sequence=1, configuration="b", class_names=names)
    assert sums.add_state(again, 1.0) is News.REPLACEMENT
    assert sums.totals(1.0).counts.frames == 1
    assert sums.totals(1.0).class_names == names


def test_a_refused_configuration_replaces_nothing():
    sums = Aggregate()
    sums.add_state(state(run="old", configuration="a"), 0.0)
    sums.add_state(state("/other", configuration="a"), 0.0)
    for _ in range(2):
        with pytest.raises(RefusedError, match="classes"):
            sums.add_state(state(run="new", configuration="b", class_names=("a", "b", "c")), 1.0)
    assert sums.totals(1.0).counts.frames == 2
    assert sums.add_state(state(run="old", sequence=2, configuration="a", frames=2), 2.0)
    assert sums.totals(2.0).counts.frames == 3


def test_another_configuration_empties_the_window():
    sums = Aggregate()
    sums.add_state(state(run="old", configuration="a", frame_sequence=0), 0.0)
    sums.add_frame(frame(1, run="old"))
    sums.add_state(state(run="new", configuration="b", frame_sequence=0), 1.0)
    assert not sums.add_frame(frame(2, run="old"))
    assert sums.window(1.0).totals.counts.frames == 0


def test_frames_that_overtake_another_configuration_are_missing():
    sums = Aggregate()
    sums.add_state(state(configuration="a", frame_sequence=0), 0.0)
    sums.add_frame(frame(1, reset_count=1))
    again = state(reset_count=1, sequence=1, configuration="b", frame_sequence=1)
    sums.add_state(again, 1.0)
    sums.add_frame(frame(2, reset_count=1))
    assert sums.window(3.0).totals.counts.frames == 1
    assert sums.totals(3.0).missing_frames == 1


def test_evaluator_reset_replaces():
    sums = Aggregate()
    sums.add_state(state(sequence=5, matrix=9 * EXAMPLE, frames=9), 0.0)
    sums.add_state(state(reset_count=1, sequence=6), 0.0)
    assert not sums.add_state(state(sequence=7, matrix=10 * EXAMPLE, frames=10), 0.0)
    assert sums.totals(0.0).counts.frames == 1


@pytest.mark.parametrize(
    ("second", "kind", "text"),
    [
        (
            state("/other", class_names=("a", "b", "c")),
            "class_names",
            r"'/other'.*3 \(a, b, c\).*3 \(road, car, sky\).*reset",
        ),
        (
            state("/other", matrix=np.ones((2, 3), np.int64), class_names=("a", "b")),
            "class_names",
            r"2 \(a, b\)",
        ),
        (state(sequence=9, matrix=EXAMPLE - 1), "inconsistent", "shrank"),
        (state(sequence=9, frames=0), "inconsistent", "shrank"),
    ],
)
def test_contradicting_states_are_refused_counted_and_change_nothing(second, kind, text):
    sums = Aggregate()
    sums.add_state(state(), 0.0)
    for _ in range(2):
        with pytest.raises(RefusedError, match=text) as caught:
            sums.add_state(second, 0.0)
    assert caught.value.kind == kind
    assert sums.refused == {kind: 2}
    assert sums.totals(0.0).counts.matrix.tolist() == EXAMPLE.tolist()
    assert sums.totals(0.0).sources == ("/e",)


def test_other_classes_are_welcome_after_a_reset():
    sums = Aggregate()
    sums.add_state(state(), 0.0)
    sums.add_frame(frame(1))
    sums.reset()
    matrix = np.array([[3, 0, 0], [0, 4, 0]], np.int64)
    sums.add_state(state("/new", matrix=matrix, class_names=("a", "b"), frames=1), 0.0)
    assert sums.totals(0.0).counts.matrix.tolist() == matrix.tolist()
    assert sums.totals(0.0).class_names == ("a", "b")
    with pytest.raises(RefusedError, match="classes"):
        sums.add_state(state(sequence=2), 0.0)
    assert not sums.add_frame(frame(2))  # a run of the old classes
    assert sums.window(0.0).totals.counts.frames == 0
    sums.add_frame(frame(1, source="/new", matrix=matrix))
    assert sums.window(0.0).totals.counts.matrix.tolist() == matrix.tolist()


def test_many_restarts_are_folded_and_their_late_messages_ignored(monkeypatch):
    monkeypatch.setattr(runs, "_MAX_FINISHED_RUNS", 3)
    sums = Aggregate()
    states = [state(run=str(i), sequence=2, stamp_ns=i) for i in range(20)]
    for one in states:
        sums.add_state(one, 0.0)
    assert len(sums._runs) == 4
    for one in states:
        assert not sums.add_state(one, 0.0)
    sums.add_state(state(run="0", sequence=3, matrix=9 * EXAMPLE, frames=9), 0.0)
    totals = sums.totals(0.0)
    assert totals.counts.frames == 20
    assert totals.counts.matrix.tolist() == (20 * EXAMPLE).tolist()
    assert totals.stamp_ns == 19
    sums.reset()
    assert sums.totals(0.0).counts.frames == 0
    for one in states:
        sums.add_state(one, 0.0)
    assert sums.totals(0.0).counts.frames == 0
    sums.add_state(state(run="19", sequence=3, matrix=2 * EXAMPLE, frames=2), 0.0)
    assert sums.totals(0.0).counts.frames == 1


def test_folded_ids_and_sources_are_bounded(monkeypatch):
    monkeypatch.setattr(runs, "_MAX_FINISHED_RUNS", 2)
    monkeypatch.setattr(runs, "_MAX_CLOSED_RUNS", 5)
    monkeypatch.setattr(admission, "_MAX_SOURCES", 2)
    sums = Aggregate()
    for i in range(30):
        sums.add_state(state(run=str(i)), 0.0)
    assert len(sums._runs._closed) == 5
    sums.add_state(state("/second"), 0.0)
    with pytest.raises(RefusedError, match="limit"):
        sums.add_state(state("/third"), 0.0)
    assert sums.refused == {"too_many_sources": 1}


def test_weights_of_another_length_are_refused():
    sums = Aggregate(scoring=Scoring(class_weights=(1.0, 2.0)))
    with pytest.raises(RefusedError, match="class_weights must hold 3 numbers"):
        sums.add_state(state(), 0.0)
    sums.set_scoring(Scoring(class_weights=(1.0, 2.0, 0.0)))
    sums.add_state(state(), 0.0)
    assert sums.result(0.0).scores.weighted_miou == pytest.approx((1 + 2 / 3) / 3)
    with pytest.raises(ConfigurationError, match="class_weights"):
        sums.set_scoring(Scoring(class_weights=(1.0,)))


def test_window_holds_the_newest_frames_once_each():
    sums = Aggregate(window_frames=2)
    sums.add_state(state(frame_sequence=0), 0.0)
    for number, factor in ((1, 1), (2, 10), (2, 10), (3, 100)):
        sums.add_frame(frame(number, matrix=factor * EXAMPLE))
    window = sums.window(0.0)
    assert window.totals.counts.matrix.tolist() == (110 * EXAMPLE).tolist()
    assert window.totals.counts.frames == 2
    assert window.totals.stamp_ns == 3 * 10**9
    assert window.scores.miou == pytest.approx(4 / 9)


def test_dropped_frames_leave_no_gap_and_no_trace():
    sums = Aggregate()
    sums.add_state(state(frame_sequence=0), 0.0)
    sums.add_frame(frame(1))
    sums.add_frame(frame(2, matrix=np.zeros((3, 4), np.int64), evaluated=False))
    sums.add_frame(frame(3))
    assert sums.window(0.0).totals.counts.frames == 2
    assert sums.totals(0.0).missing_frames == 0


def test_gaps_are_missing_until_they_close():
    sums = Aggregate()
    sums.add_state(state(frame_sequence=0), 0.0)
    sums.add_frame(frame(1))
    sums.add_frame(frame(5))
    assert sums.totals(0.0).missing_frames == 3
    sums.add_frame(frame(3))
    assert sums.totals(0.0).missing_frames == 2


def test_frames_before_we_listened_are_not_missing():
    sums = Aggregate()
    sums.add_state(state(frame_sequence=500), 0.0)
    sums.add_frame(frame(501))
    assert sums.totals(0.0).missing_frames == 0


def test_frames_that_a_state_knows_of_are_missing_after_a_while():
    sums = Aggregate()
    sums.add_state(state(sequence=1, frame_sequence=10), 0.0)
    sums.add_state(state(sequence=2, frame_sequence=14), 5.0)
    assert sums.totals(5.5).missing_frames == 0
    assert sums.totals(6.5).missing_frames == 4
    sums.add_frame(frame(12))
    assert sums.totals(6.5).missing_frames == 3


def test_waiting_for_frames_that_a_state_speaks_of():
    sums = Aggregate()
    assert sums.wait_for_frames(0.0)
    sums.add_state(state(sequence=1, frame_sequence=0), 0.0)
    sums.add_state(state(sequence=2, frame_sequence=2), 0.0)
    sums.add_frame(frame(1))
    assert not sums.wait_for_frames(0.0)
    late = threading.Timer(0.05, lambda: sums.add_frame(frame(2)))
    late.start()
    assert sums.wait_for_frames(30.0)
    late.join()


def test_frames_ahead_of_the_first_state_are_held_for_it():
    sums = Aggregate()
    assert not sums.add_frame(frame(7))
    sums.add_frame(frame(8))
    assert math.isnan(sums.window(0.0).scores.miou)
    sums.add_state(state(frame_sequence=8), 0.0)
    assert sums.window(0.0).totals.counts.frames == 2
    assert sums.totals(9.0).missing_frames == 0


def test_evaluator_reset_clears_the_window_once():
    sums = Aggregate()
    sums.add_state(state(sequence=1, frame_sequence=0), 0.0)
    sums.add_frame(frame(1))
    sums.add_frame(frame(1, reset_count=1, matrix=5 * EXAMPLE))
    sums.add_state(state(reset_count=1, sequence=2, frame_sequence=1), 0.0)
    sums.add_frame(frame(2))  # of before the reset, late
    sums.add_frame(frame(3, reset_count=1, matrix=5 * EXAMPLE))
    assert sums.window(0.0).totals.counts.matrix.tolist() == (10 * EXAMPLE).tolist()
    assert sums.totals(0.0).missing_frames == 1


def test_malformed_frames_are_refused_and_missing():
    sums = Aggregate()
    sums.add_state(state(frame_sequence=0), 0.0)
    bad = FrameRecord(
        "/e", "r", 0, 1, 0, evaluated=True, cells=np.array([12]), counts=np.array([1])
    )
    with pytest.raises(RefusedError, match=r"frame 1 of '/e' refused: cells must lie in 0\.\.11"):
        sums.add_frame(bad)
    sums.add_frame(frame(2))
    assert sums.refused == {"malformed": 1}
    assert sums.totals(0.0).missing_frames == 1


def test_reset_clears_window_and_missing():
    sums = Aggregate()
    sums.add_state(state(frame_sequence=0), 0.0)
    sums.add_frame(frame(1))
    sums.add_frame(frame(4))
    sums.reset()
    assert sums.window(0.0).totals.counts.frames == 0
    assert sums.totals(9.0).missing_frames == 0


def test_ages_are_those_of_the_last_message_even_if_repeated():
    sums = Aggregate()
    sums.add_state(state("/a"), 1.0)
    sums.add_state(state("/b"), 2.0)
    sums.add_state(state("/a"), 4.0)
    assert sums.ages(5.0) == {"/a": 1.0, "/b": 3.0}


def test_threads_lose_nothing():
    sums = Aggregate()
    sums.add_state(state(frame_sequence=0, matrix=0 * EXAMPLE, frames=0), 0.0)

    def work(source):
        for number in range(1, 101):
            sums.add_state(
                state(source, sequence=number, matrix=number * EXAMPLE, frames=number), 0.0
            )
            sums.add_frame(frame(number, source=source))
            sums.totals(0.0)

    threads = [threading.Thread(target=work, args=(f"/{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums.totals(0.0).counts.matrix.tolist() == (400 * EXAMPLE).tolist()
    assert sums.window(0.0).totals.counts.frames == 400


def test_the_interval_of_miou_does_not_follow_the_weights():
    sums = Aggregate(scoring=Scoring(class_weights=(1.0, 0.0, 0.0)))
    sums.add_state(state(), 0.0)
    for sequence in range(1, 21):
        varied = EXAMPLE + np.eye(3, 4, dtype=np.int64) * (sequence % 4)
        sums.add_frame(frame(sequence, matrix=varied))
    weighted = sums.result(0.0)
    sums.set_scoring(Scoring())
    assert weighted.intervals.miou == sums.result(0.0).intervals.miou
    assert weighted.intervals.miou[1] < 1 == weighted.scores.weighted_miou


def test_the_worst_frames_and_the_course_of_all_evaluators():
    sums = Aggregate()
    sums.add_state(state("/a"), 0.0)
    sums.add_state(state("/b"), 0.0)
    sums.add_frame(frame(1, source="/a", matrix=EXAMPLE + 9 * np.eye(3, 4, dtype=np.int64)))
    sums.add_frame(frame(2, source="/b"))
    result = sums.result(0.0)
    assert [(each.source, each.stamp_ns) for each in result.worst] == [("/b", 2e9), ("/a", 1e9)]
    assert result.timeline.starts_ns.tolist() == [10**9, 2 * 10**9]
    assert result.timeline.miou.tolist() == pytest.approx([(1 + 10 / 12 + 9 / 11) / 3, 4 / 9])
    sums.reset()
    assert sums.result(0.0).worst == ()


def test_sources_that_count_nothing_give_way_but_are_not_forgotten(monkeypatch):
    monkeypatch.setattr(admission, "_MAX_SOURCES", 3)
    sums = Aggregate()
    for i, name in enumerate(("/a", "/b", "/c")):
        sums.add_state(state(name, frames=10), float(i))
    with pytest.raises(RefusedError, match="3 sources are the limit; call reset to start over"):
        sums.add_state(state("/real"), 4.0)
    sums.reset()
    # The one that has been silent longest, though it was not the first to be heard.
    sums.add_state(state("/a", frames=10), 5.0)
    sums.add_state(state("/real", sequence=2, frames=2), 6.0)
    assert sums.totals(7.0).sources == ("/a", "/c", "/real")
    assert sums.totals(7.0).counts.frames == 2
    # It comes back in the place of another one, and only what is new counts.
    sums.add_state(state("/b", sequence=2, frames=11, matrix=2 * EXAMPLE), 8.0)
    assert sums.totals(9.0).sources == ("/a", "/b", "/real")
    assert sums.totals(9.0).counts.frames == 2
    sums.add_state(state("/b", sequence=3, frames=14, matrix=3 * EXAMPLE), 10.0)
    assert sums.totals(11.0).counts.frames == 5


def test_early_frames_are_bounded_by_what_they_hold():
    sums = Aggregate()
    cells = np.zeros(65_280, np.uint32)
    large = [frame(i, run="large") for i in range(1, 101)]
    for each in large:
        object.__setattr__(each, "cells", cells)
        object.__setattr__(each, "counts", cells.astype(np.uint64))
        sums.add_frame(each)
    held = sums._early._frames
    assert 1 < len(held) < 100
    assert sum(each.nbytes for each in held) <= 2**25
    assert held[-1] is large[-1]
    for i in range(1, 400):
        sums.add_frame(frame(i, run="small"))
    assert len(held) == 256
    sums.add_state(state(run="small"), 0.0)
    assert not held
    assert not sums._early._bytes


def test_offsets_are_those_of_the_frames_since_the_last_reset():
    sums = Aggregate()
    sums.add_state(state(), 0.0)
    sums.add_state(state("/f"), 0.0)
    for sequence, offset_ns in enumerate((3, 5, -9), 1):
        sums.add_frame(frame(sequence, offset_ns=offset_ns))
    sums.add_frame(frame(1, source="/f", offset_ns=100))
    sums.add_frame(frame(4, offset_ns=999, evaluated=False))
    offsets = sums.result(0.0).offsets
    assert (offsets.pairs, offsets.median_s, offsets.largest_s) == (4, 4e-9, 1e-7)
    assert sums.window(0.0).offsets is None
    sums.reset()
    assert sums.result(0.0).offsets.pairs == 0
