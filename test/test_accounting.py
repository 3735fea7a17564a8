from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from deeplab_miou.accounting import Reason, RunningAccount, Stream, StreamCounts


def test_everything_received_is_evaluated_waiting_or_dropped():
    account = RunningAccount()
    for _ in range(5):
        account.received(Stream.IMAGE)
    for _ in range(3):
        account.received(Stream.LABEL)
    account.evaluated()
    account.dropped(Stream.IMAGE, Reason.UNMATCHED_IMAGE)
    account.dropped(Stream.LABEL, Reason.BAD_ENCODING)
    images, labels = account.snapshot().images, account.snapshot().labels
    assert (images.received, images.evaluated, images.waiting) == (5, 1, 3)
    assert (labels.received, labels.evaluated, labels.waiting) == (3, 1, 1)
    assert images.dropped == {"unmatched_image": 1}
    assert labels.dropped == {"bad_encoding": 1}
    assert account.snapshot().to_dict()["labels"] == {
        "received": 3,
        "evaluated": 1,
        "waiting": 1,
        "dropped": {"bad_encoding": 1},
    }


def test_ending_what_was_never_received_is_a_programming_error():
    account = RunningAccount()
    with pytest.raises(RuntimeError, match="more images ended"):
        account.dropped(Stream.IMAGE, Reason.BAD_SIZE)


def test_reset_forgets_all():
    account = RunningAccount()
    account.received(Stream.LABEL)
    account.reset()
    assert account.snapshot().labels.received == 0


def test_counts_from_many_threads_add_up():
    account = RunningAccount()

    def count():
        for _ in range(500):
            account.received(Stream.IMAGE)
            account.received(Stream.LABEL)
            account.evaluated()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = account.snapshot().images
    assert (counts.received, counts.evaluated, counts.waiting) == (2000, 2000, 0)


def test_counts_since_earlier_ones_keep_the_identity():
    base = StreamCounts(10, 6, 2, {"queue_full": 2})
    now = StreamCounts(15, 9, 3, {"queue_full": 2, "bad_size": 1})
    since = now.since(base)
    assert since == StreamCounts(7, 3, 3, {"bad_size": 1})
    assert since.received == since.evaluated + since.waiting + sum(since.dropped.values())


def test_reasons_are_their_names_and_explain_themselves():
    assert Reason("queue_full") is Reason.QUEUE_FULL
    assert f"{Reason.QUEUE_FULL.value}" == Reason.QUEUE_FULL == "queue_full"
    assert len({reason.explanation for reason in Reason}) == len(Reason)


def test_the_documented_reasons_are_those_that_there_are():
    page = (Path(__file__).parents[1] / "docs" / "troubleshooting.md").read_text("utf-8")
    table = page.split("| Reason | Meaning |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [each.value for each in Reason]
    (line,) = (each for each in page.splitlines() if "are part of normal operation" in each)
    normal = {each.value for each in Reason if each.is_normal}
    assert set(re.findall(r"`(\w+)`", line)) == normal
