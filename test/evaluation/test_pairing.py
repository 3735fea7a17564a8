from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.matching import match
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.stream_buffer import REMEMBERED_STAMPS

IMAGE, LABEL = Stream.IMAGE, Stream.LABEL
S = 1_000_000_000
MS = 1_000_000


class Log:
    """Feeds a pairer as the pipeline does and keeps what it decided."""

    def __init__(self, **options):
        self.pairer = Pairer(**options)
        self.pairs = []
        self.drops = []
        self.jumps = 0
        self.added = Counter()

    def add(self, stream, stamp_ns, item=None, size=1):
        item = f"{stream.value}@{stamp_ns}" if item is None else item
        self.added[stream] += 1
        self._keep(self.pairer.observe(stream, stamp_ns))
        self._keep(self.pairer.add(stream, stamp_ns, item, size))

    def flush(self):
        self._keep(self.pairer.flush())

    def _keep(self, result):
        self.pairs += [(pair.image, pair.label) for pair in result.pairs]
        self.drops += [(drop.stream, drop.item, drop.reason) for drop in result.drops]
        self.jumps += result.jumped

    def reasons(self):
        return Counter((stream, reason) for stream, _, reason in self.drops)

    def check_identity(self):
        waiting = self.pairer.waiting()
        for stream in Stream:
            dropped = sum(1 for drop in self.drops if drop[0] is stream)
            assert self.added[stream] == len(self.pairs) + dropped + waiting[stream]


def test_equal_stamps_pair_whichever_comes_first():
    log = Log()
    log.add(IMAGE, 1)
    log.add(LABEL, 1)
    log.add(LABEL, 2)
    log.add(IMAGE, 2)
    assert log.pairs == [("image@1", "label@1"), ("image@2", "label@2")]
    assert log.drops == []


def test_without_tolerance_near_stamps_do_not_pair():
    log = Log()
    log.add(IMAGE, 10)
    log.add(LABEL, 11)
    assert log.pairs == []
    assert log.pairer.waiting() == {IMAGE: 1, LABEL: 1}


def test_tolerance_takes_the_nearest_partner_and_is_inclusive():
    log = Log(tolerance_ns=10)
    log.add(IMAGE, 100)
    log.add(IMAGE, 108)
    log.add(LABEL, 106)
    log.add(LABEL, 90)
    log.flush()
    assert log.pairs == [("image@100", "label@90"), ("image@108", "label@106")]


def test_a_label_that_comes_before_its_image_waits_for_it():
    log = Log(tolerance_ns=50 * MS)
    for k in range(30):
        if k % 3 == 0:
            log.add(LABEL, k * 33 * MS - MS, k)
        log.add(IMAGE, k * 33 * MS, k)
        # It is paired as soon as nothing nearer can come: with the next label.
        assert len(log.pairs) == max(k // 3, 0)
    log.flush()
    assert log.pairs == [(k, k) for k in range(0, 30, 3)]


def test_equal_stamps_are_paired_at_once_though_another_is_near():
    log = Log(tolerance_ns=50 * MS)
    log.add(IMAGE, 0)
    log.add(LABEL, 33 * MS)
    assert log.pairs == []
    log.add(IMAGE, 33 * MS)
    assert log.pairs == [(f"image@{33 * MS}", f"label@{33 * MS}")]


def test_what_has_to_go_is_paired_as_if_nothing_more_came():
    log = Log(tolerance_ns=10, max_frames=3)
    log.add(LABEL, 8)
    for stamp in (0, 10, 20, 30):
        log.add(IMAGE, stamp)
    assert log.drops == [(IMAGE, "image@0", Reason.UNMATCHED_IMAGE)]
    assert log.pairs == []
    log.add(IMAGE, 40)
    assert log.pairs == [("image@10", "label@8")]
    log.check_identity()


def test_labels_far_behind_in_any_order_are_no_jump():
    """As of a service that answers 5 to 25 s late."""
    log = Log(max_frames=1000)
    rng = random.Random(4)  # noqa: S311
    answers = sorted(range(600), key=lambda k: k / 10 + rng.uniform(5, 25))
    for k in range(850):
        if k < 600:
            log.add(IMAGE, k * S // 10, k)
        while answers and answers[0] / 10 + 25 <= k / 10:
            log.add(LABEL, answers[0] * S // 10, answers.pop(0))
    while answers:
        log.add(LABEL, answers[0] * S // 10, answers.pop(0))
    assert sorted(log.pairs) == [(k, k) for k in range(600)]
    assert log.jumps == 0


def test_labels_in_reverse_order_are_no_jump():
    log = Log()
    for k in range(60):
        log.add(IMAGE, k * S, k)
    for k in reversed(range(60)):
        log.add(LABEL, k * S, k)
    assert sorted(log.pairs) == [(k, k) for k in range(60)]
    assert log.jumps == 0


@pytest.mark.parametrize("first", list(Stream))
def test_a_simulator_that_starts_again_with_new_stamps(first):
    """Its images tell, whichever of the two arrives first."""
    log = Log()
    second = LABEL if first is IMAGE else IMAGE
    for turn in range(3):
        for k in range(200):
            for stream in (first, second):
                log.add(stream, k * S // 10 + turn, (turn, k))
    assert log.pairs == [((turn, k),) * 2 for turn in range(3) for k in range(200)]
    assert log.jumps == 2
    assert log.drops == []


def test_label_that_comes_late_finds_its_image_while_that_is_held():
    log = Log(max_frames=100)
    for k in range(100):
        log.add(IMAGE, k * 33 * MS)
    log.add(LABEL, 0)
    assert log.pairs == [("image@0", f"label@{0}")]


def test_oldest_stamp_is_given_up_when_too_many_wait():
    log = Log(max_frames=2)
    for stamp in (5, 3, 4):
        log.add(IMAGE, stamp)
    assert log.drops == [(IMAGE, "image@3", Reason.UNMATCHED_IMAGE)]
    for stamp in (8, 9, 10):
        log.add(LABEL, stamp)
    assert log.drops[1:] == [(LABEL, "label@8", Reason.UNMATCHED_LABEL)]
    log.check_identity()


def test_bytes_are_bounded_over_both_streams_oldest_first():
    log = Log(max_bytes=100)
    log.add(LABEL, 1, size=40)
    log.add(IMAGE, 2, size=50)
    log.add(IMAGE, 3, size=40)
    assert log.drops == [(LABEL, "label@1", Reason.UNMATCHED_LABEL)]
    assert log.pairer.held_bytes == 90


def test_one_message_larger_than_the_bound_is_still_held():
    log = Log(max_bytes=100)
    log.add(IMAGE, 1, size=1000)
    log.add(LABEL, 1, size=10)
    assert log.pairs == [("image@1", "label@1")]
    assert log.pairer.held_bytes == 0


def test_duplicate_of_a_waiting_message_replaces_it():
    log = Log()
    log.add(IMAGE, 1, "first")
    log.add(IMAGE, 1, "second")
    log.add(LABEL, 1, "label")
    assert log.pairs == [("second", "label")]
    assert log.drops == [(IMAGE, "first", Reason.DUPLICATE_STAMP)]


def test_a_stamp_is_paired_once():
    log = Log()
    for _ in range(2):
        log.add(IMAGE, 1)
        log.add(LABEL, 1)
    assert len(log.pairs) == 1
    assert log.reasons() == {(IMAGE, Reason.DUPLICATE_STAMP): 1, (LABEL, Reason.DUPLICATE_STAMP): 1}


def test_unset_stamps_are_duplicates_and_hold_no_memory():
    log = Log()
    for _ in range(1000):
        log.add(IMAGE, 0, size=10)
    assert log.pairer.waiting()[IMAGE] == 1
    assert log.pairer.held_bytes == 10
    assert log.reasons() == {(IMAGE, Reason.DUPLICATE_STAMP): 999}


def test_flush_gives_up_both_sides_as_unmatched():
    log = Log()
    log.add(IMAGE, 1)
    log.add(LABEL, 2)
    log.flush()
    assert log.reasons() == {(IMAGE, Reason.UNMATCHED_IMAGE): 1, (LABEL, Reason.UNMATCHED_LABEL): 1}
    assert log.pairer.held_bytes == 0


def test_remembered_stamps_are_bounded():
    pairer = Pairer()
    for stamp in range(REMEMBERED_STAMPS + 10):
        for stream in Stream:
            pairer.observe(stream, stamp)
            pairer.add(stream, stamp, None, 1)
    assert all(len(buffer.ended) == REMEMBERED_STAMPS for buffer in pairer._buffers.values())


def play(log, seconds, labels_late=0, hz=10):
    """Play a bag once; labels come `labels_late` frames after their image."""
    stamps = [k * S // hz for k in range(seconds * hz)]
    for k, stamp in enumerate(stamps):
        log.add(IMAGE, stamp)
        if k >= labels_late:
            log.add(LABEL, stamps[k - labels_late])
    for stamp in stamps[len(stamps) - labels_late :]:
        log.add(LABEL, stamp)


@pytest.mark.parametrize("labels_late", [0, 1, 7])
def test_a_bag_that_loops_pairs_every_frame_of_every_loop(labels_late):
    log = Log()
    for _ in range(3):
        play(log, seconds=4, labels_late=labels_late)
    assert len(log.pairs) == 3 * 40
    assert log.jumps == 2
    assert log.drops == []


def in_rounds(rounds, seconds=4, hz=10):
    return [(turn, k * S // hz) for turn in range(rounds) for k in range(seconds * hz)]


@pytest.mark.parametrize("lag", [1, 3, 39, 40, 41, 95])
@pytest.mark.parametrize("late", list(Stream))
def test_a_stream_that_lags_over_jumps_loses_nothing(late, lag):
    """Both ways, by more than a round too: a middleware may hold one topic back for seconds."""
    log = Log()
    early = LABEL if late is IMAGE else IMAGE
    messages = in_rounds(4)
    for k in range(len(messages) + lag):
        if k < len(messages):
            log.add(early, messages[k][1], messages[k])
        if k >= lag:
            log.add(late, messages[k - lag][1], messages[k - lag])
    assert log.pairs == [(message, message) for message in messages]
    assert log.drops == []
    assert log.jumps == 3


def test_sparse_labels_do_not_lose_the_era():
    log = Log()
    stamps = [k * S // 10 for k in range(50)]
    for _ in range(3):
        for stamp in stamps:
            log.add(IMAGE, stamp)
            if stamp == stamps[5]:
                log.add(LABEL, stamp)
    assert len(log.pairs) == 3
    log.check_identity()


def test_out_of_order_within_a_second_is_no_jump():
    log = Log()
    stamps = [k * 33 * MS for k in range(200)]
    shuffled = list(stamps)
    rng = random.Random(1)  # noqa: S311
    for start in range(0, 200, 20):
        part = shuffled[start : start + 20]
        rng.shuffle(part)
        shuffled[start : start + 20] = part
    for image, label in zip(stamps, shuffled, strict=True):
        log.add(IMAGE, image)
        log.add(LABEL, label)
    assert len(log.pairs) == 200
    assert log.jumps == 0


def test_a_jump_too_short_for_the_stamps_is_told_by_the_clock():
    log = Log()
    for sec in (100, 104):
        log.add(IMAGE, sec * S)
    log.add(LABEL, 103 * S)
    log.pairer.clock_jumped(101 * S)
    # Leftovers of the past era go on from where it was.
    log.add(LABEL, 104 * S)
    assert log.pairs == [(f"image@{104 * S}", f"label@{104 * S}")]
    for sec in (101, 102):
        log.add(IMAGE, sec * S)
        log.add(LABEL, sec * S)
    assert len(log.pairs) == 3
    assert log.jumps == 1
    assert log.reasons() == {(IMAGE, Reason.CLOCK_JUMP): 1, (LABEL, Reason.CLOCK_JUMP): 1}
    log.check_identity()


@pytest.mark.parametrize("told_after", [0, 1, 10, 25])
def test_a_clock_that_lags_behind_the_stamps_tells_no_second_jump(told_after):
    log = Log()
    play(log, seconds=30)
    for k in range(50):
        if k == told_after:
            log.pairer.clock_jumped(k // 10 * S)
        log.add(IMAGE, k * S // 10)
        log.add(LABEL, k * S // 10)
    assert log.jumps == 1
    assert len(log.pairs) == 350
    assert log.drops == []


def test_one_stamp_in_the_far_future_is_no_jump():
    log = Log()
    for stamp in (100 * S, 2**60, 100 * S + 1, 100 * S + 2):
        log.add(IMAGE, stamp)
        log.add(LABEL, stamp)
    assert log.jumps == 0
    assert len(log.pairs) == 4


def test_one_stamp_that_was_never_set_is_no_jump():
    log = Log()
    for stamp in (100 * S, 0, 100 * S + 1):
        log.add(IMAGE, stamp)
        log.add(LABEL, stamp)
    assert log.jumps == 0
    assert len(log.pairs) == 3


@pytest.mark.parametrize("first", list(Stream))
def test_a_jump_that_one_stream_does_not_show_costs_only_what_waited(first):
    """Labels of the past era ended before the time that the new one begins at."""
    log = Log()
    second = LABEL if first is IMAGE else IMAGE
    for k in range(200):
        log.add(IMAGE, k * S)
    log.add(LABEL, 3 * S)
    for k in range(5, 100):
        for stream in (first, second):
            if stream is IMAGE or k % 10 == 0:
                log.add(stream, k * S + 7, k)
    assert log.pairs[1:] == [(k, k) for k in range(10, 100, 10)]
    assert log.reasons() == {(IMAGE, Reason.CLOCK_JUMP): 199}
    log.check_identity()


@given(
    # Two labels a round at least: one alone, with the same stamp every time, shows no round.
    st.integers(1, 39),
    st.lists(st.integers(0, 30), min_size=2, max_size=2),
    st.integers(0, 60),
    st.randoms(use_true_random=False),
)
def test_loops_pair_every_frame_whatever_lags(every, lags, clock_lag, rng):
    """Streams and clock, each in order but behind the others by a changing number of frames."""
    log = Log(max_frames=1000)
    messages = in_rounds(5)
    queues = [[(k, IMAGE, m) for k, m in enumerate(messages)]]
    queues.append([(k, LABEL, m) for k, m in enumerate(messages) if k % 40 % every == 0])
    queues.append([(k, None, m) for k, m in enumerate(messages) if m[1] == 0 and k])
    labelled = [m for _, _, m in queues[1]]
    for k in range(len(messages) + 100):
        for queue, lag in zip(queues, (*lags, clock_lag), strict=True):
            while queue and queue[0][0] <= k - rng.randint(0, lag):
                _, stream, message = queue.pop(0)
                if stream is None:
                    log.pairer.clock_jumped(0)
                else:
                    log.add(stream, message[1], message)
    assert not any(queues)
    assert sorted(log.pairs) == [(m, m) for m in labelled]
    assert log.jumps == 4
    log.check_identity()


def test_reset_forgets_everything():
    log = Log()
    log.add(IMAGE, 1)
    log.add(LABEL, 1)
    log.add(LABEL, 2)
    log.pairer.reset()
    assert log.pairer.waiting() == {IMAGE: 0, LABEL: 0}
    assert log.pairer.held_bytes == 0
    log.add(IMAGE, 1)
    log.add(LABEL, 1)
    assert len(log.pairs) == 2


arrivals = st.lists(
    st.tuples(st.sampled_from(list(Stream)), st.integers(0, 40), st.integers(1, 30)), max_size=120
)


@given(arrivals, st.sampled_from([0, 1, 5]), st.integers(1, 10), st.integers(30, 200))
def test_every_message_is_accounted_for_and_bounds_hold(messages, tolerance, frames, max_bytes):
    log = Log(tolerance_ns=tolerance, max_frames=frames, max_bytes=max_bytes)
    for stream, stamp, size in messages:
        log.add(stream, stamp, size=size)
        assert all(count <= frames for count in log.pairer.waiting().values())
        assert log.pairer.held_bytes <= max_bytes
    log.check_identity()
    log.flush()
    log.check_identity()
    assert log.pairer.waiting() == {IMAGE: 0, LABEL: 0}
    for image, label in log.pairs:
        assert abs(int(image.split("@")[1]) - int(label.split("@")[1])) <= tolerance


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80, unique=True))
def test_exact_pairs_are_those_of_an_exact_synchronizer(messages):
    """Reference: a stamp is emitted once both topics have shown it (large queues, no repeats)."""
    log = Log()
    seen = {True: set(), False: set()}
    expected = []
    for is_image, stamp in messages:
        log.add(IMAGE if is_image else LABEL, stamp)
        seen[is_image].add(stamp)
        if stamp in seen[not is_image]:
            expected.append((f"image@{stamp}", f"label@{stamp}"))
    assert log.pairs == expected


@given(
    st.lists(st.integers(0, 300), max_size=40, unique=True),
    st.lists(st.integers(0, 300), max_size=40, unique=True),
    st.integers(0, 60),
    st.randoms(use_true_random=False),
)
def test_pairs_depend_on_the_stamps_not_on_when_they_arrive(images, labels, tolerance, rng):
    """Each stream in order, however far one is behind the other at any time."""
    log = Log(tolerance_ns=tolerance)
    queues = [(IMAGE, sorted(images)), (LABEL, sorted(labels))]
    while any(queue for _, queue in queues):
        stream, queue = rng.choice([each for each in queues if each[1]])
        for _ in range(min(rng.randint(1, 5), len(queue))):
            stamp = queue.pop(0)
            log.add(stream, stamp, stamp)
    log.flush()
    assert sorted(log.pairs) == match(images, labels, tolerance)
    log.check_identity()


@given(
    st.lists(st.integers(0, 300), max_size=40, unique=True),
    st.integers(-20, 20),
    st.randoms(use_true_random=False),
)
def test_pairs_do_not_depend_on_the_order_within_a_stream(images, offset, rng):
    """Labels that are off by a constant, in any order, as long as all is held."""
    images = [50 * stamp for stamp in images]
    log = Log(tolerance_ns=24)
    messages = [(IMAGE, stamp) for stamp in images] + [(LABEL, stamp + offset) for stamp in images]
    rng.shuffle(messages)
    for stream, stamp in messages:
        log.add(stream, stamp, stamp if stream is IMAGE else stamp - offset)
    log.flush()
    assert sorted(log.pairs) == [(stamp, stamp) for stamp in sorted(images)]


@given(arrivals, st.sampled_from([1, 3, 8, 40]), st.integers(3, 20))
def test_no_pair_that_is_decided_waits(messages, tolerance, frames):
    """Only where something has changed is looked: nothing may be decided anywhere else."""
    log = Log(tolerance_ns=tolerance, max_frames=frames, jump_threshold_ns=50)
    for stream, stamp, size in messages:
        log.add(stream, stamp, size=size)
        own = log.pairer._buffers[stream]
        evicted = len(own.held) == frames
        if not evicted:  # what makes room goes last, and is looked at with the next message
            era = own.eras.number
            assert not [s for s in own.stamps(era) if log.pairer._decided(own, era, s)]
        assert sum(len(each.touched) for each in log.pairer._buffers.values()) < 200
    log.check_identity()


@pytest.mark.parametrize("tolerance", [0, 20 * MS])
def test_messages_without_partner_do_not_make_it_slow(tolerance):
    """As many as may be held: each message is looked at a few times, not with every other one."""
    pairer = Pairer(tolerance_ns=tolerance, max_frames=20_000, max_bytes=2**40)
    looked = 0

    def decided(*args, decide=pairer._decided):
        nonlocal looked
        looked += 1
        return decide(*args)

    pairer._decided = decided
    for k in range(20_000):
        for stream, offset in ((IMAGE, 0), (LABEL, 50 * MS)):
            pairer.observe(stream, k * 100 * MS + offset)
            assert not pairer.add(stream, k * 100 * MS + offset, None, 1).pairs
    assert looked < 200_000
    # None of them was forgotten.
    pairer.observe(LABEL, 0)
    pairs = pairer.add(LABEL, 0, None, 1).pairs
    assert len(pairs) == 1
