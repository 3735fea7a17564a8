"""Tags the whole way of a user: a bag or a table of times, the command, counts of its own."""

import json
from datetime import datetime, timezone

import pytest
from rosbags.rosbag2 import StoragePlugin
from tagged_drives import (
    BEGIN,
    FRAMES,
    HALF,
    SECOND,
    count,
    key_value,
    miou,
    stamp_of,
    string,
    write_bag,
)

from deeplab_miou.cli import main


def evaluate(bag, output, *extra, bags=None):
    """Run the command; returns its exit status and the report."""
    status = main(
        [
            "evaluate",
            *map(str, bags or [bag]),
            *("--prediction-topic", "/prediction", "--label-topic", "/labels"),
            *("--labels", "cityscapes_train_ids", "--output", str(output), "--quiet"),
            *map(str, extra),
        ]
    )
    file = output / "report.json"
    return status, json.loads(file.read_text()) if file.exists() else None


def check(report, expected):
    """Check the slices against the frames that they should have."""
    found = {(each["key"], each["name"]): each for each in report["slices"]}
    assert set(found) == set(expected)
    for tag, indices in expected.items():
        each, matrix = found[tag], count(indices)
        assert each["frames"] == len(indices), tag
        assert each["confusion"] == matrix.tolist(), tag
        assert each["miou"] == pytest.approx(miou(matrix)), tag
    order = [each["miou"] for each in report["slices"]]
    assert order == sorted(order)


def test_a_string_holds_until_the_next_one(tmp_path):
    tags = [
        string(5, "  tunnel "),
        string(8, "tunnel"),
        string(20, "rain"),
        string(40, ""),
        string(50, "tunnel"),
    ]
    bag = write_bag(tmp_path / "bag", tags)
    status, report = evaluate(bag, tmp_path / "out", "--tags-topic", "/tag")
    assert status == 0
    expected = {
        ("", "no tag"): [*range(5), *range(40, 50)],
        ("", "tunnel"): [*range(5, 20), *range(50, 60)],
        ("", "rain"): list(range(20, 40)),
    }
    check(report, expected)
    assert sum(each["frames"] for each in report["slices"]) == report["frames"] == FRAMES
    assert report["doubts"] == []
    for each in report["slices"]:
        assert each["miou_lower"] < each["miou"] < each["miou_upper"]
    assert report["tags"][0] == {
        "key": "",
        "start_ns": stamp_of(5) - HALF,
        "names": ["tunnel"],
    }


def test_each_key_has_its_own_tags(tmp_path):
    tags = [
        key_value(0, "weather", "dry"),
        key_value(10, "weather", "rain"),
        key_value(20, "weather", "dry"),
        key_value(30, "road", "tunnel"),
    ]
    bag = write_bag(tmp_path / "bag", tags, plugin=StoragePlugin.SQLITE3)
    status, report = evaluate(bag, tmp_path / "out", "--tags-topic", "/tag")
    assert status == 0
    expected = {
        ("weather", "dry"): [*range(10), *range(20, 60)],
        ("weather", "rain"): list(range(10, 20)),
        ("road", "no tag"): list(range(30)),
        ("road", "tunnel"): list(range(30, 60)),
    }
    check(report, expected)


def test_what_differs_beyond_chance_is_said(tmp_path):
    tags = [string(0, "dry"), string(10, "rain"), string(20, "dry"), string(40, "rain")]
    tags.append(string(50, "dry"))
    bag = write_bag(tmp_path / "bag", tags)
    _, report = evaluate(bag, tmp_path / "out", "--tags-topic", "/tag")
    worst = report["slices"][0]
    assert worst["name"] == "rain"
    rain = count([*range(10, 20), *range(40, 50)])
    labelled = rain.sum(axis=1) > 0
    union = rain.sum(axis=1) + rain[:, :-1].sum(axis=0) - rain.diagonal()
    iou = rain.diagonal()[labelled] / union[labelled]
    assert worst["contrast"]["inside"][0] == pytest.approx(iou.mean())
    assert worst["contrast"]["upper"][0] < 0
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "worse with rain than in the other frames" in text
        assert "Slices" in text or "| slice |" in text


SHEET = (
    "\ufeffstart;end;tag;comment\r\n"
    f"{BEGIN}.5;{BEGIN + 20},5;Tunnel;über\r\n"
    "2026-05-01T12:00:10,25Z;2026-05-01T14:00:30+02:00;rain;\r\n"
    "+40;+45,5;rain;\r\n"
    ";;;\r\n"
)


def test_a_table_from_a_spreadsheet_may_overlap(tmp_path):
    bag = write_bag(tmp_path / "bag", [])
    (tmp_path / "tags.csv").write_bytes(SHEET.replace(f"{BEGIN}.5", f"{BEGIN},5").encode())
    status, report = evaluate(bag, tmp_path / "out", "--tags", tmp_path / "tags.csv")
    assert status == 0
    tunnel, rain = range(1, 21), [*range(11, 30), *range(40, 46)]
    expected = {
        ("", "Tunnel"): list(tunnel),
        ("", "rain"): rain,
        ("", "no tag"): [k for k in range(FRAMES) if k not in tunnel and k not in rain],
    }
    check(report, expected)


def test_events_that_foxglove_lists(tmp_path):
    bag = write_bag(tmp_path / "bag", [])

    def time(index):
        return datetime.fromtimestamp(BEGIN + index, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    rows = [
        "ID,Device ID,Device Name,Start,End,Created At,Updated At,Metadata",
        f'evt_1,dev_1,car,{time(3)},{time(9)},{time(99)},{time(99)},"{{""weather"":""rain"",""road"":""tunnel""}}"',
        f'evt_2,dev_1,car,{time(20)},{time(20)},{time(99)},{time(99)},"{{""weather"":""rain""}}"',
    ]
    (tmp_path / "events.csv").write_text("\n".join(rows) + "\n")
    _, report = evaluate(bag, tmp_path / "out", "--tags", tmp_path / "events.csv")
    others = [*range(3), *range(9, FRAMES)]
    expected = {
        ("weather", "rain"): range(3, 9),
        ("weather", "no tag"): others,
        ("road", "tunnel"): range(3, 9),
        ("road", "no tag"): others,
    }
    check(report, expected)
    assert any(
        "1 rows" in doubt and "no frame has their tag" in doubt for doubt in report["doubts"]
    )


def test_images_stamped_by_another_clock_follow_the_order_of_recording(tmp_path):
    day = 400 * 86_400 * SECOND
    tags = [(kind, at + day, fields) for kind, at, fields in (string(5, "rain"), string(20, "dry"))]
    bag = write_bag(tmp_path / "bag", tags, clock_ns=day)
    _, report = evaluate(bag, tmp_path / "out", "--tags-topic", "/tag")
    expected = {("", "no tag"): range(5), ("", "rain"): range(5, 20), ("", "dry"): range(20, 60)}
    check(report, expected)
    assert any("another clock" in doubt for doubt in report["doubts"])


def test_a_criterion_is_about_a_slice(tmp_path):
    bag = write_bag(tmp_path / "bag", [key_value(10, "weather", "rain")])
    (tmp_path / "criteria.yaml").write_text(
        "criteria:\n"
        "  - {score: miou, slice: weather=rain, at_least: 0.0}\n"
        "  - {score: frames, slice: weather=rain, at_least: 50}\n"
        "  - {score: miou, slice: weather=snow, at_least: 0.1}\n"
    )
    status, report = evaluate(
        bag, tmp_path / "out", "--tags-topic", "/tag", "--criteria", tmp_path / "criteria.yaml"
    )
    assert status == 5
    assert [each["passed"] for each in report["criteria"]] == [True, True, False]
    assert report["criteria"][1]["value"] == 50


def test_too_many_tags_are_counted_together(tmp_path):
    bag = write_bag(tmp_path / "bag", [])
    rows = [f"{BEGIN}.{k:03},{BEGIN + 1}.{k:03},<b>tag {k}</b>" for k in range(70)]
    (tmp_path / "tags.csv").write_text("start,end,tag\n" + "\n".join(rows))
    _, report = evaluate(bag, tmp_path / "out", "--tags", tmp_path / "tags.csv")
    assert len(report["slices"]) == 66
    assert any("more than 64 tags" in doubt for doubt in report["doubts"])
    assert "<b>tag" not in (tmp_path / "out" / "report.html").read_text()


def test_tags_of_many_bags_add_up(tmp_path):
    first = write_bag(tmp_path / "first", [key_value(10, "weather", "rain")])
    second = write_bag(tmp_path / "second", [key_value(0, "road", "tunnel")])
    output = tmp_path / "out"
    status, report = evaluate(None, output, "--tags-topic", "/tag", bags=[first, second])
    assert status == 0
    every = list(range(FRAMES))
    expected = {
        ("weather", "rain"): every[10:],
        ("weather", "no tag"): every[:10] + every,
        ("road", "tunnel"): every,
        ("road", "no tag"): every,
    }
    check(report, expected)
    for each in report["slices"]:
        assert each["miou_lower"] < each["miou"] < each["miou_upper"]
    again = evaluate(None, output, "--tags-topic", "/tag", bags=[first, second])[1]
    assert again["slices"] == report["slices"]


def test_a_row_may_be_of_one_bag(tmp_path):
    first, second = write_bag(tmp_path / "first", []), write_bag(tmp_path / "second", [])
    (tmp_path / "tags.csv").write_text("bag,start,end,tag\nfirst,+10,+20,rain\nsecond,+0,,rain\n")
    _, report = evaluate(
        None, tmp_path / "out", "--tags", tmp_path / "tags.csv", bags=[first, second]
    )
    every = list(range(FRAMES))
    check(
        report,
        {("", "rain"): every[10:20] + every, ("", "no tag"): every[:10] + every[20:]},
    )


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (("--tags-topic", "/labels"), "is of type sensor_msgs/msg/Image"),
        (("--tags-topic", "/nothing"), "is not there"),
        (("--tags-topic", "/tag", "--tags", "x.csv"), "not from both"),
        (("--tags", "nothing.csv"), "nothing.csv cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, capsys, extra, expected):
    bag = write_bag(tmp_path / "bag", [string(1, "rain")])
    status, report = evaluate(bag, tmp_path / "out", *extra)
    assert status == 1
    assert report is None
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
