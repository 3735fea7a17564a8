from __future__ import annotations

from deeplab_miou.accounting import StreamCounts
from deeplab_miou.pacing.accounts import Tally
from deeplab_miou.pacing.summary import describe_losses, summarise


def tally(evaluated=5, resets=0, restarts=0, foreign=0, **dropped):
    received = evaluated + sum(dropped.values())
    images = StreamCounts(received, evaluated, 0, dropped)
    labels = StreamCounts(evaluated, evaluated)
    return Tally(images, labels, evaluated, resets, restarts, foreign)


def test_a_replay_without_loss_has_nothing_to_tell():
    assert describe_losses({"/e": tally(unmatched_image=7)}) == []


def test_each_loss_is_a_line():
    lines = describe_losses({"/a": tally(queue_full=3), "/b": tally(restarts=1, foreign=2)})
    assert len(lines) == 3
    assert lines[0].startswith("/a dropped 3 frames because its queue was full")
    assert lines[1] == "/b was restarted: the frames that it held are lost"
    assert lines[2].startswith("/b received 2 messages that other publishers sent")


def test_summary_names_topics_evaluators_and_reasons():
    line = summarise(
        {"/labels": 5, "/image": 8},
        {"/e": tally(resets=2, foreign=4, unmatched_image=2, bad_size=1)},
        played_s=4.0,
        took_s=2.0,
    )
    assert line == (
        "played 13 messages (/image 8, /labels 5) in 2.00 s, 2.00 x recorded speed; /e: 5 frames "
        "evaluated (since the last of 2 resets), dropped 3 images: 1 bad_size, 2 "
        "unmatched_image, no label; 4 messages that it received came from other publishers"
    )


def test_summary_of_nothing():
    line = summarise({}, {}, played_s=0.0, took_s=0.0)
    assert line == "played 0 messages (none) in 0.00 s, inf x recorded speed"
