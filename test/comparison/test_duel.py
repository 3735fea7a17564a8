"""Two running evaluators, compared by what they say; counts by NumPy."""

import json

import numpy as np
import pytest

from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord, RefusedError, RunSnapshot
from deeplab_miou.comparison.difference import compare
from deeplab_miou.comparison.duel import NOT_REPORTED, Duel
from deeplab_miou.comparison.report import to_json
from deeplab_miou.comparison.snapshot import summarise
from deeplab_miou.metric.counts import Counts
from deeplab_miou.report.frame_table import FrameTable

SECOND = 1_000_000_000
NAMES = ("road", "car", "pole")


def state(source, run="r", resets=0, names=NAMES):
    counts = Counts(np.zeros((len(names), len(names) + 1), np.int64))
    about = json.dumps({"checkpoint": f"{source[1:]}.pth"})
    return EvaluatorState(source, 1, RunSnapshot(run, resets, counts), names, provenance=about)


def record(source, sequence, stamp_ns, matrix=None, *, reason="", run="r", resets=0, stream="pair"):
    flat = np.zeros(0, np.int64) if matrix is None else matrix.ravel()
    cells = np.flatnonzero(flat)
    return FrameRecord(
        source,
        run,
        resets,
        sequence,
        stamp_ns,
        evaluated=not reason,
        cells=cells.astype(np.uint32),
        counts=flat[cells].astype(np.uint64),
        reason=reason,
        stream=stream,
    )


def count(truth, prediction):
    matrix = np.zeros((3, 4), np.int64)
    np.add.at(matrix, (truth.ravel(), prediction.ravel()), 1)
    return matrix


def maps(frames=120, seed=1, shares=(0.3, 0.1)):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, (frames, 12, 16))
    found = [truth]
    for share in shares:
        wrong = random.random(truth.shape) < share * random.uniform(0.5, 1.5, (frames, 1, 1))
        found.append(np.where(wrong, (truth + 1) % 3, truth))
    return found


def ready(**options):
    duel = Duel(margin=0.005, **options)
    duel.add_state(0, state("/a"))
    duel.add_state(1, state("/b"))
    return duel


def iou_of(truth, prediction):
    return np.array(
        [
            np.sum((truth == c) & (prediction == c)) / np.sum((truth == c) | (prediction == c))
            for c in range(3)
        ]
    )


def table(truth, prediction, stamps):
    matrices = np.stack([count(t, p) for t, p in zip(truth, prediction, strict=True)])
    right = np.diagonal(matrices[:, :, :3], axis1=1, axis2=2)
    false, missed = matrices[:, :, :3].sum(1) - right, matrices.sum(2) - right
    return FrameTable(NAMES, np.array(stamps, np.int64), np.stack([right, false, missed], axis=1))


def test_numbers_are_those_of_comparing_tables_whatever_the_order():
    truth, old, new = maps()
    stamps = [(100 * SECOND) + k * SECOND // 2 for k in range(len(truth))]
    messages = [
        (which, record("/ab"[:1] + "ab"[which], k + 1, stamps[k], count(truth[k], guess[k])))
        for which, guess in enumerate((old, new))
        for k in range(len(truth))
    ]
    expected = compare(table(truth, old, stamps), table(truth, new, stamps), margin=0.005)
    for seed in range(3):
        duel = ready()
        for at in np.random.default_rng(seed).permutation(len(messages)):
            duel.add_frame(*messages[at])
        found = duel.snapshot()
        assert found.frames == 120
        difference = found.difference(0.005, "exclude")
        assert difference.value[0] == pytest.approx(
            (iou_of(truth, new) - iou_of(truth, old)).mean()
        )
        for name in ("fixed", "one_sided", "anytime"):
            ours, theirs = (getattr(each.bounds, name) for each in (difference, expected))
            assert np.array_equal(ours, theirs, equal_nan=True)
        assert (found.a.waiting, found.b.waiting, found.neither) == (0, 0, 0)
        written = json.loads(to_json(summarise(found, difference)))
        assert written["difference"] == difference.value[0]
        assert written["a"]["name"] == "a.pth"
        assert len(written["became_better"]) == 5


def test_what_is_decided_stands_and_is_said_once():
    truth, old, new = maps(200)
    duel, lines = ready(), []
    for k in range(200):
        stamp = k * SECOND // 2
        duel.add_frame(0, record("/a", k + 1, stamp, count(truth[k], old[k])))
        lines.append(duel.add_frame(1, record("/b", k + 1, stamp, count(truth[k], new[k]))))
    said = [(k, line) for k, line in enumerate(lines) if line]
    assert len(said) == 1
    (at, line), decision = said[0], duel.snapshot().decision
    # It takes 16 blocks of a second, and is known by the frames before this one.
    assert at >= 32
    assert (decision.verdict, decision.frames, decision.stamp_ns) == (
        "better",
        at,
        at * SECOND // 2,
    )
    assert line == f"decided at {at / 2:.3f} s after {at} frames: B is better than A"
    # Frames that say otherwise change the difference, and not what was decided.
    for k in range(200):
        stamp = (1000 + k) * SECOND
        duel.add_frame(0, record("/a", 201 + k, stamp, count(truth[k], truth[k])))
        duel.add_frame(1, record("/b", 201 + k, stamp, count(truth[k], old[k])))
    found = duel.snapshot()
    assert found.difference(0.005, "exclude").value[0] < 0
    assert found.decision is decision


def test_every_frame_is_counted_somewhere():
    truth, old, new = maps(60)
    duel = ready()
    random = np.random.default_rng(3)
    expected = {"both": 0, "a": {}, "b": {}, "neither": 0, "waiting": 0}
    told = []
    for k in range(60):
        kind = random.integers(6)
        a, b = count(truth[k], old[k]), count(truth[k], new[k])
        reasons = {1: ("", "queue_full"), 2: ("inference_failed", ""), 3: ("unmatched_image",) * 2}
        why_a, why_b = reasons.get(int(kind), ("", ""))
        duel.add_frame(0, record("/a", k + 1, k, None if why_a else a, reason=why_a))
        # A label that found no image is no frame, whatever its stamp.
        duel.add_frame(0, record("/a", 100 + k, k, reason="unmatched_label", stream="label"))
        if kind == 4:
            expected["waiting"] += 1
            continue
        told.append(k + 1)
        duel.add_frame(1, record("/b", k + 1, k, None if why_b else b, reason=why_b))
        if kind == 1:
            expected["a"]["queue_full"] = expected["a"].get("queue_full", 0) + 1
        elif kind == 2:
            expected["b"]["inference_failed"] = expected["b"].get("inference_failed", 0) + 1
        elif kind == 3:
            expected["neither"] += 1
        else:
            expected["both"] += 1
    found = duel.snapshot()
    assert min(expected["both"], expected["waiting"], expected["neither"]) > 0
    assert (found.frames, found.neither) == (expected["both"], expected["neither"])
    assert (found.a.only, found.b.only) == (expected["a"], expected["b"])
    assert (found.a.waiting, found.b.waiting) == (expected["waiting"], 0)
    # Of those that B never told of, all but the ones after its last are known to be missing.
    assert found.b.missing == told[-1] - len(told) > 0


def test_a_frame_that_the_other_never_reports_is_let_go_and_counted(monkeypatch):
    monkeypatch.setattr("deeplab_miou.comparison.duel._MOST_WAITING", 10)
    truth, old, _ = maps(30)
    duel = ready()
    for k in range(30):
        duel.add_frame(0, record("/a", k + 1, k, count(truth[k], old[k])))
    found = duel.snapshot()
    assert found.a.only == {NOT_REPORTED: 20}
    assert found.a.waiting == 10


def test_frames_on_other_ground_truth_are_not_compared():
    truth, old, new = maps(3)
    duel = ready()
    for k, other in enumerate((truth[0], truth[1], truth[2] * 0)):
        duel.add_frame(0, record("/a", k + 1, k, count(truth[k], old[k])))
        duel.add_frame(1, record("/b", k + 1, k, count(other, new[k])))
    found = duel.snapshot()
    assert (found.frames, found.other_ground_truth) == (2, 1)
    assert found.note.startswith("frames scored on different ground truth: 1;")


def test_predictions_that_are_stamped_anew_are_noticed():
    """As by a segmentation node that stamps what it publishes with the time of publishing."""
    truth, old, new = maps(150)
    duel = ready()
    for k in range(150):
        duel.add_frame(0, record("/a", k + 1, k * SECOND + 1, count(truth[k], old[k])))
        assert ("no frame of A has the stamp" in duel.snapshot().note) == (k >= 100)
        duel.add_frame(1, record("/b", k + 1, k * SECOND + 2, count(truth[k], new[k])))
    assert duel.snapshot().frames == 0


def test_the_rounds_of_a_looping_bag_are_joined_in_order():
    truth, old, new = maps(12)
    duel = ready()
    # A is a whole round ahead of B.
    for k in range(12):
        duel.add_frame(0, record("/a", k + 1, k % 4 * SECOND, count(truth[k], old[k])))
        if k >= 4:
            at = k - 4
            duel.add_frame(1, record("/b", k - 3, at % 4 * SECOND, count(truth[at], new[at])))
    found = duel.snapshot()
    assert (found.frames, found.other_ground_truth, found.a.waiting) == (8, 0, 4)
    expected = iou_of(truth[:8], old[:8]).mean()
    assert found.difference(0.005, "exclude").a[0] == pytest.approx(expected)


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_restart_begins_anew_and_says_so(is_reset):
    truth, old, new = maps(20)
    duel = ready()

    def add(which, k, **fields):
        guess = (old, new)[which]
        source = ("/a", "/b")[which]
        return duel.add_frame(which, record(source, k + 1, k, count(truth[k], guess[k]), **fields))

    for k in range(5):
        add(0, k)
        add(1, k)
    assert duel.snapshot().frames == 5
    # A is further when B begins anew: these frames have no partner yet, and will have one.
    for k in range(5, 10):
        add(0, k)
    fields = {"resets": 1} if is_reset else {"run": "s"}
    line = duel.add_state(1, state("/b", fields.get("run", "r"), fields.get("resets", 0)))
    assert line == f"B (/b) was {'reset' if is_reset else 'restarted'}: counting began anew"
    # What was under way from before is of no run that counts.
    assert add(1, 5) == ""
    for k in range(5, 10):
        add(1, k, **fields)
    found = duel.snapshot()
    assert (found.frames, found.restarts, found.note) == (5, 1, line)
    expected = iou_of(truth[5:10], new[5:10]).mean()
    assert found.difference(0.005, "exclude").b[0] == pytest.approx(expected)


def test_frames_that_overtake_the_first_states_are_counted():
    truth, old, new = maps(5)
    duel = Duel(margin=0.005)
    for k in range(5):
        duel.add_frame(0, record("/a", k + 1, k, count(truth[k], old[k])))
        duel.add_frame(1, record("/b", k + 1, k, count(truth[k], new[k])))
    assert duel.snapshot().difference(0.005, "exclude") is None
    duel.add_state(0, state("/a"))
    duel.add_state(1, state("/b"))
    assert duel.snapshot().frames == 5


def test_what_cannot_be_compared_is_said():
    duel = Duel(margin=0.005)
    duel.add_state(0, state("/a"))
    assert "different classes" in duel.add_state(1, state("/b", names=("road", "bus", "pole")))
    assert duel.snapshot().note.startswith("A and B have different classes")
    duel = ready()
    with pytest.raises(RefusedError, match="A is '/a', so what '/c' publishes"):
        duel.add_frame(0, record("/c", 1, 1))
    bad = record("/b", 1, 1, np.ones((3, 4), np.int64))
    bad.cells[0] = 99
    duel.add_frame(0, record("/a", 1, 1, np.ones((3, 4), np.int64)))
    with pytest.raises(RefusedError, match="frame 1 of '/b' refused"):
        duel.add_frame(1, bad)
    found = duel.snapshot()
    assert (found.frames, found.a.only) == (0, {"malformed": 1})
    # Nor does such a frame take others with it that came before the classes were known.
    truth, old, new = maps(3)
    duel = Duel(margin=0.005)
    for k in range(3):
        for which, guess in enumerate((old, new)):
            frame = record("/ab"[:1] + "ab"[which], k + 1, k, count(truth[k], guess[k]))
            if (which, k) == (0, 0):
                frame.cells[0] = 99
            duel.add_frame(which, frame)
    duel.add_state(0, state("/a"))
    duel.add_state(1, state("/b"))
    found = duel.snapshot()
    assert (found.frames, found.b.only) == (2, {"malformed": 1})


def test_one_that_runs_alone_takes_no_more_memory_than_a_bound(monkeypatch):
    monkeypatch.setattr("deeplab_miou.comparison.duel._MOST_EARLY", 4)
    truth, old, new = maps(10)
    duel = Duel(margin=0.005)
    duel.add_state(0, state("/a"))
    for k in range(10):
        duel.add_frame(0, record("/a", k + 1, k, count(truth[k], old[k])))
    duel.add_state(1, state("/b"))
    for k in range(10):
        duel.add_frame(1, record("/b", k + 1, k, count(truth[k], new[k])))
    found = duel.snapshot()
    # Of the first six, nobody knew whom they would be compared with.
    assert found.a.only == {NOT_REPORTED: 6}
    assert (found.frames, found.b.waiting) == (4, 6)


def test_predictions_are_compared_with_or_without_labels():
    _, old, new = (each.astype(np.uint8) for each in maps(100))
    duel = ready()
    order = np.random.default_rng(5).permutation(40)
    for k in order:
        duel.add_prediction(0, int(k) * SECOND // 2, old[k])
        if k % 5:
            duel.add_prediction(1, int(k) * SECOND // 2, new[k])
    found = duel.snapshot()
    both = [k for k in range(40) if k % 5]
    shares = {k: float(np.mean(old[k] != new[k])) for k in both}
    assert found.disagreement.frames == 32
    assert found.disagreement.share == pytest.approx(np.mean(old[both] != new[both]))
    of_second = {}
    for k in both:
        of_second[k // 2] = max(of_second.get(k // 2, (0, 0)), (shares[k], -k))
    best = sorted(of_second.values(), reverse=True)[:6]
    assert [each.stamp_ns for each in found.disagreement.most] == [
        -k * SECOND // 2 for _, k in best
    ]
    assert found.disagreement.most[0].picture.shape == (12, 3 * 16, 3)
    # Without an end: what waits for nobody is let go.
    for k in range(2000):
        duel.add_prediction(0, (1000 + k) * SECOND, old[k % 100])
    assert len(duel._predictions._waiting.waiting(0)) <= 64
