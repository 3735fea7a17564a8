from __future__ import annotations

import cv2
import numpy as np
import pytest

from deeplab_miou.watch.worst import WorstMoments

SECOND = 1_000_000_000
PICTURE = np.zeros((30, 40, 3), np.uint8)


def matrix(wrong):
    return np.array([[10, wrong, 0], [0, 10, 0]], np.int64)


def test_only_the_worst_have_pictures_and_few_of_them():
    worst = WorstMoments()
    for k in range(100):
        worst.add(matrix(k), k * SECOND, "/e", "run")
        if worst.wants_picture("/e", k * SECOND):
            worst.show("/e", k * SECOND, PICTURE)
    found = worst.content(("road", "car"))
    assert [each["moment"] for each in found] == [f"{k}.000 s" for k in range(99, 93, -1)]
    for each in found:
        assert worst.picture(each["picture"]).startswith(b"\xff\xd8")
    assert worst.picture("0" * 16) == b""
    assert found[0]["miou"] == (10 / 109 + 10 / 109) / 2
    assert (found[0]["truth"], found[0]["taken_for"], found[0]["pixels"]) == ("road", "car", 99)


def test_a_frame_that_is_not_among_them_has_no_picture():
    worst = WorstMoments()
    worst.add(matrix(0), SECOND, "/e", "run")
    assert not worst.wants_picture("/e", SECOND)
    worst.show("/e", SECOND, PICTURE)
    assert worst.content(("road", "car")) == []


def test_pictures_of_one_moment_are_told_apart():
    """Two cameras take theirs at once, and a drive that is played again has the same stamps."""
    worst = WorstMoments()
    names = []
    for source, shade in (("/front", 0), ("/rear", 200)):
        worst.add(matrix(5), SECOND, source, "run")
        worst.show(source, SECOND, np.full_like(PICTURE, shade))
    for each in worst.content(("road", "car")):
        names.append(each["picture"])
        shown = cv2.imdecode(np.frombuffer(worst.picture(each["picture"]), np.uint8), 0)
        assert shown.mean() == pytest.approx({"/front": 0, "/rear": 200}[each["source"]], abs=2)
    worst.add(matrix(5), SECOND, "/front", "another run")
    worst.show("/front", SECOND, np.full_like(PICTURE, 100))
    names.append(worst.content(("road", "car"))[0]["picture"])
    assert len(set(names)) == 3


def test_counting_anew_forgets_what_was():
    worst = WorstMoments()
    worst.add(matrix(5), SECOND, "/e", ("run", 0))
    worst.show("/e", SECOND, PICTURE)
    (before,) = worst.content(("road", "car"))
    worst.add(matrix(2), 2 * SECOND, "/e", ("run", 1))
    (left,) = worst.content(("road", "car"))
    assert left["moment"] == "2.000 s"
    assert left["picture"] == ""
    assert worst.picture(before["picture"]) == b""
