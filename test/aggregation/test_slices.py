"""Frames by their tags: the same whatever comes first, unless it comes far too late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_miou.aggregation import slices
from deeplab_miou.aggregation.results import Scoring
from deeplab_miou.aggregation.slices import SliceStatistics, slice_results
from deeplab_miou.tags.timeline import NO_TAG, Tag, TagTimeline

S = 10**9
NAMES = ("a", "b")


def matrix(k):
    return np.random.default_rng(k).integers(0, 50, (2, 3))


def complete(tags, stamps):
    """Return what is counted if all tags are known before the first frame."""
    timeline = TagTimeline()
    for key, name, stamp_ns in tags:
        timeline.add(key, name, stamp_ns)
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=True)
    for k, stamp_ns in enumerate(stamps):
        statistics.add(matrix(k)[None], [stamp_ns])
    return statistics.read()


def same(summary, other):
    assert set(summary.slices) == set(other.slices)
    for tag, counts in summary.slices.items():
        assert counts.frames == other.slices[tag].frames
        np.testing.assert_array_equal(counts.matrix, other.slices[tag].matrix)
        np.testing.assert_array_equal(counts.blocks.keys, other.slices[tag].blocks.keys)
        np.testing.assert_array_equal(counts.blocks.counts, other.slices[tag].blocks.counts)


TAGS = st.lists(
    st.tuples(st.sampled_from(["", "weather"]), st.sampled_from(["", "rain", "dry"])), max_size=6
)


@settings(deadline=None)
@given(TAGS, st.lists(st.integers(0, 12), max_size=6), st.data())
def test_tags_and_frames_in_any_interleaving(names, times, data):
    tags = [(*name, at * S) for name, at in zip(names, sorted(times), strict=False)]
    stamps = [k * S // 2 for k in range(30)]
    timeline = TagTimeline()
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=False)
    left, waiting = list(tags), list(enumerate(stamps))
    while left or waiting:
        if left and (not waiting or data.draw(st.booleans())):
            key, name, stamp_ns = left.pop(0)
            if timeline.add(key, name, stamp_ns):
                statistics.changed(key, stamp_ns)
        else:
            k, stamp_ns = waiting.pop(0)
            statistics.add(matrix(k)[None], [stamp_ns])
        if data.draw(st.booleans()):
            statistics.read()
    summary = statistics.read()
    same(summary, complete(tags, stamps))
    assert not any("before the tag of their time" in doubt for doubt in summary.doubts)


def test_a_tag_in_time_is_the_same_beyond_what_is_held(monkeypatch):
    monkeypatch.setattr(slices, "MAX_HELD", 5)
    stamps = [k * S for k in range(40)]
    tags = [("", "rain", 3 * S), ("weather", "dry", 20 * S), ("", "", 25 * S)]
    timeline = TagTimeline()
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=False)
    for k, stamp_ns in enumerate(stamps):
        for key, name, at in tags:
            if at == stamp_ns - 4 * S and timeline.add(key, name, at):
                statistics.changed(key, at)
        statistics.add(matrix(k)[None], [stamp_ns])
    summary = statistics.read()
    same(summary, complete(tags, stamps))
    assert summary.doubts == ()
    assert summary.slices[Tag("weather", NO_TAG)].frames == 20


def test_a_tag_that_comes_too_late_is_told(monkeypatch):
    monkeypatch.setattr(slices, "MAX_HELD", 5)
    timeline = TagTimeline()
    timeline.add("", "dry", 0)
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=False)
    for k in range(20):
        statistics.add(matrix(k)[None], [k * S])
    timeline.add("", "rain", 10 * S)
    statistics.changed("", 10 * S)
    summary = statistics.read()
    assert summary.slices[Tag("", "rain")].frames == 5
    assert summary.doubts[0].startswith("5 frames counted before the tag of that time")


def test_the_worst_comes_first_and_the_undefined_last():
    timeline = TagTimeline()
    for k, name in enumerate(("good", "bad", "empty")):
        timeline.add("", name, k * S)
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=True)
    for k, each in enumerate(([[9, 1, 0], [0, 9, 0]], [[1, 9, 0], [9, 1, 0]], np.zeros((2, 3)))):
        statistics.add(np.array([each], np.int64), [k * S])
    found = slice_results(statistics.read().slices, NAMES, Scoring())
    assert [tag.name for tag in found] == ["bad", "good", "empty"]
    assert "needs 8 blocks of 1 s" in found[Tag("", "bad")].intervals.reason


def test_no_tag_at_all_is_one_slice_with_a_doubt():
    statistics = SliceStatistics(2, TagTimeline(), block_s=1.0, is_complete=False)
    statistics.add(matrix(0)[None], [S])
    summary = statistics.read()
    assert list(summary.slices) == [Tag("", NO_TAG)]
    assert summary.doubts == ("there are no tags: all frames are in one slice",)


@pytest.mark.parametrize("at", [0, 10**18])
def test_tags_of_another_clock_are_doubted(at):
    timeline = TagTimeline()
    timeline.add("", "rain", at)
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=True)
    statistics.add(matrix(0)[None], [5 * 10**17])
    assert "do both use the same clock?" in statistics.read().doubts[0]


def test_forgetting_frames_keeps_tags():
    timeline = TagTimeline()
    timeline.add("", "rain", 0)
    statistics = SliceStatistics(2, timeline, block_s=1.0, is_complete=True)
    statistics.add(matrix(0)[None], [S])
    statistics.clear()
    assert statistics.read().slices == {}
    statistics.add(matrix(1)[None], [2 * S])
    assert statistics.read().slices[Tag("", "rain")].frames == 1
