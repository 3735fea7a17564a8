"""Which tags are in force when, against looking at every message and row for each moment."""

from hypothesis import given
from hypothesis import strategies as st

from deeplab_miou.tags.timeline import (
    MOST_TAGS,
    NO_TAG,
    OTHER_TAGS,
    Span,
    Tag,
    TagTimeline,
)

NAMES = st.sampled_from(["", "rain", "dry", " rain\n"])
MESSAGES = st.lists(st.tuples(st.sampled_from(["", "weather"]), NAMES, st.integers(0, 30)))
SPANS = st.lists(
    st.builds(
        Span,
        st.builds(Tag, st.sampled_from(["", "weather"]), st.sampled_from(["rain", "dry"])),
        st.integers(0, 30),
        st.integers(0, 30),
    )
)


@given(MESSAGES)
def test_the_newest_message_of_a_key_is_in_force(messages):
    ordered = sorted(messages, key=lambda each: each[2])
    timeline = TagTimeline()
    for key, name, stamp_ns in ordered:
        timeline.add(key, name, stamp_ns)
    for moment in range(32):
        for key in timeline.keys:
            before = [name.strip() for k, name, at in ordered if k == key and at <= moment]
            name = (before or [""])[-1] or NO_TAG
            assert timeline.tags_of(key, moment) == [Tag(key, name)]


@given(SPANS)
def test_rows_overlap(spans):
    timeline = TagTimeline()
    timeline.add_spans(spans)
    for moment in range(32):
        for key in timeline.keys:
            names = {
                tag.name for tag, start, stop in spans if tag.key == key and start <= moment < stop
            }
            found = timeline.tags_of(key, moment)
            assert {tag.name for tag in found} == (names or {NO_TAG})
            assert len(found) == len(set(found))


@given(MESSAGES)
def test_changes_say_all_of_it(messages):
    timeline = TagTimeline()
    for key, name, stamp_ns in sorted(messages, key=lambda each: each[2]):
        timeline.add(key, name, stamp_ns)
    again = TagTimeline()
    again.add_changes(timeline.changes())
    assert all(set(again.tags(moment)) == set(timeline.tags(moment)) for moment in range(32))


def test_a_repeated_tag_is_no_change():
    timeline = TagTimeline()
    assert timeline.add("", "rain", 5)
    assert not timeline.add("", " rain ", 9)
    assert timeline.changes() == [("", 5, ("rain",))]


def test_a_late_message_ends_where_the_next_one_begins():
    timeline = TagTimeline()
    timeline.add("", "rain", 5)
    timeline.add("", "dry", 20)
    assert timeline.add("", "fog", 10)
    assert timeline.until_ns("", 10) == 20
    assert [timeline.tags(at)[0].name for at in (9, 10, 19, 20)] == ["rain", "fog", "fog", "dry"]


def test_tags_keys_and_names_are_bounded():
    timeline = TagTimeline()
    for k in range(MOST_TAGS + 5):
        timeline.add("speed", str(k), k)
    for k in range(40):
        timeline.add(f"key {k}", "x" * 1000, k)
    assert timeline.tags_of("speed", MOST_TAGS + 3) == [Tag("speed", OTHER_TAGS)]
    assert len(timeline.keys) == 16
    assert max(len(tag.name) for tag in timeline.tags(50)) <= 201
    assert [doubt.split(":")[0] for doubt in timeline.doubts] == [
        "there are more than 64 tags",
        "25 changes of tags had no effect",
    ]


def test_a_label_says_the_key():
    assert Tag("weather", "rain").label == "weather=rain"
    assert Tag("", "rain").label == "rain"
