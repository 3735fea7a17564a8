from __future__ import annotations

import copy

import pytest

from deeplab_miou.report.agreement import find_differences

LIVE = {
    "confusion": [[3, 1, 0], [0, 2, 0]],
    "accounting": {"images": {"received": 3}},
    "intervals": {"miou_anytime": [0.1, 0.9]},
    "window": {"miou": 0.5},
    "timeline": {"miou": [0.25, 0.75]},
    "worst_frames": [{"stamp_ns": 7, "source": "/deeplab_evaluator", "miou": 0.25}],
    "slices": [{"worst_frames": [{"source": "/deeplab_evaluator", "miou": 0.5}], "miou": 0.5}],
    "provenance": {"mode": "live"},
    "problems": [],
}


def offline():
    content = copy.deepcopy(LIVE)
    content["worst_frames"][0]["source"] = ""
    content["slices"][0]["worst_frames"][0]["source"] = ""
    return content | {"provenance": {"mode": "offline"}}


def test_reports_of_the_same_messages_agree():
    assert find_differences(LIVE, offline()) == []


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("confusion", lambda value: value[0].__setitem__(1, 2)),
        ("accounting", lambda value: value["images"].update(received=4)),
        ("intervals", lambda value: value["miou_anytime"].__setitem__(0, 0.1 + 1e-16)),
        ("window", lambda value: value.update(miou=0.5 + 1e-15)),
        ("timeline", lambda value: value["miou"].pop()),
        ("worst_frames", lambda value: value[0].update(miou=0.24)),
        ("slices", lambda value: value[0].update(miou=0.24)),
        ("slices", lambda value: value[0]["worst_frames"][0].update(miou=0.24)),
    ],
)
def test_the_last_digit_of_each_counts(key, change):
    content = offline()
    change(content[key])
    assert find_differences(LIVE, content) == [key]


def test_a_key_that_only_one_has_is_a_difference():
    assert find_differences(LIVE, offline() | {"regions": []}) == ["regions"]
    assert find_differences(LIVE | {"regions": []}, offline()) == ["regions"]
