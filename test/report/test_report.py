from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from reports import report_of
from rich.console import Console

from deeplab_miou.accounting import Account, Reason, RunningAccount, Stream, StreamCounts
from deeplab_miou.aggregation.results import Result, Totals
from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.metric.bootstrap import Intervals, Timeline
from deeplab_miou.metric.counts import Counts
from deeplab_miou.metric.scores import compute_scores
from deeplab_miou.metric.worst_frames import WorstFrame
from deeplab_miou.report import files
from deeplab_miou.report.files import check_directory, to_json, write_report, write_together
from deeplab_miou.report.page import render_page
from deeplab_miou.report.provenance import environment, utc
from deeplab_miou.report.terminal import print_report

# Class 2 is absent; one pixel of class 1 has an invalid prediction.
MATRIX = np.array([[6, 2, 0, 0], [1, 3, 0, 1], [0, 0, 0, 0]], np.int64)
EVIL = "<script>alert(1)</script>[red]\x1b[31m\"'&"


def account():
    counts = RunningAccount()
    for _ in range(3):
        counts.received(Stream.IMAGE)
    counts.received(Stream.LABEL)
    counts.evaluated()
    counts.dropped(Stream.IMAGE, Reason.UNMATCHED_IMAGE)
    return counts.snapshot()


def make_report(names=("road", "car", "pole"), **changes):
    intervals = Intervals(
        miou=(0.4, 0.8),
        iou=np.array([[0.5, 0.7], [0.3, 0.6], [math.nan, math.nan]]),
        blocks=12,
        reason=None,
        miou_anytime=(0.3, 0.9),
        iou_anytime=np.array([[0.4, 0.8], [0.2, 0.7], [math.nan, math.nan]]),
        anytime_reason=None,
    )
    values = {
        "class_names": names,
        "counts": Counts(MATRIX, frames=1, ignored=4, unmapped=2),
        "account": account(),
        "provenance": {"checkpoint": "net.safetensors", "nested": {"a": [1, math.nan]}},
        "intervals": intervals,
    }
    return report_of(**(values | changes))


def table_text(report, **kwargs):
    stream = io.StringIO()
    print_report(report, Console(file=stream, **({"width": 120} | kwargs)))
    return stream.getvalue()


def test_json_holds_what_the_agreement_names():
    content = json.loads(to_json(make_report()))
    assert content["schema_version"] == 1
    assert content["miou"] == pytest.approx((6 / 9 + 3 / 7) / 2)
    assert (content["miou_lower"], content["miou_upper"]) == (0.4, 0.8)
    assert content["frames"] == 1
    assert content["confusion"] == MATRIX.tolist()
    assert content["accounting"]["images"] == {
        "received": 3,
        "evaluated": 1,
        "waiting": 1,
        "dropped": {"unmatched_image": 1},
    }
    assert content["classes"][1] == {
        "id": 1,
        "name": "car",
        "iou": pytest.approx(3 / 7),
        "iou_lower": 0.3,
        "iou_upper": 0.6,
        "precision": pytest.approx(3 / 5),
        "recall": pytest.approx(3 / 5),
        "f1": pytest.approx(6 / 10),
        "true_positive": 3,
        "false_positive": 2,
        "false_negative": 2,
    }
    assert content["intervals"] == {
        "miou": [0.4, 0.8],
        "blocks": 12,
        "resampled": "blocks of time",
        "reason": None,
        "miou_anytime": [0.3, 0.9],
        "iou_anytime": [[0.4, 0.8], [0.2, 0.7], [None, None]],
        "anytime_reason": None,
    }
    assert content["window"] is None
    for key in ("weighted_miou", "frequency_weighted_iou", "pixel_accuracy", "mean_accuracy"):
        assert 0 < content[key] < 1


def test_nan_becomes_null_everywhere():
    empty = np.zeros((3, 4), np.int64)
    report = make_report(counts=Counts(empty))
    text = to_json(report)
    content = json.loads(text)
    assert "NaN" not in text
    assert content["miou"] is None
    assert content["classes"][2]["iou"] is None
    assert content["classes"][2]["iou_lower"] is None
    assert content["provenance"]["nested"] == {"a": [1, None]}


def test_a_window_has_its_own_scores():
    totals = Totals(("road", "car", "pole"), Counts(MATRIX, 5), stamp_ns=20)
    window = Result(totals, compute_scores(MATRIX), start_ns=10)
    content = make_report(window=window).to_dict()["window"]
    assert content["frames"] == 5
    assert (content["start_ns"], content["end_ns"]) == (10, 20)
    assert content["miou"] == pytest.approx((6 / 9 + 3 / 7) / 2)


def test_no_intervals_are_null():
    content = make_report(intervals=None).to_dict()
    assert content["intervals"] is None
    assert content["miou_lower"] is None
    assert content["classes"][0]["iou_lower"] is None


def test_an_existing_report_survives_a_full_disk(tmp_path, monkeypatch):
    paths = write_report(make_report(), tmp_path)
    before = [path.read_bytes() for path in paths]

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DeeplabMiouError, match="No space left on device") as caught:
        write_report(make_report(counts=Counts(MATRIX, frames=9)), tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_device_that_is_full_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "r.json").write_text("old")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "x")
    (tmp_path / ".r.json.x.tmp").symlink_to("/dev/full")
    # The name is taken by a link: the exclusive creation must refuse to write through it.
    with pytest.raises(DeeplabMiouError, match="cannot be written"):
        write_together({tmp_path / "r.json": "new"})
    assert (tmp_path / "r.json").read_text() == "old"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_disk_that_fills_up_in_any_file_leaves_the_old_ones(tmp_path, monkeypatch, step):
    paths = write_report(make_report(), tmp_path)
    before = [path.read_bytes() for path in paths]
    calls = []

    def full(_):
        calls.append(1)
        if len(calls) == step:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DeeplabMiouError, match="No space left on device; the one that was there"):
        write_report(make_report(counts=Counts(MATRIX, frames=9)), tmp_path)
    assert [path.read_bytes() for path in paths] == before
    assert {each.name for each in tmp_path.iterdir()} == set(files.REPORT_NAMES)


def test_a_folder_in_the_place_of_the_page_leaves_the_json(tmp_path):
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.json").write_text("old")
    with pytest.raises(DeeplabMiouError, match=r"report\.html' cannot be written: Is a directory"):
        write_report(make_report(), tmp_path)
    assert (tmp_path / "report.json").read_text() == "old"


def test_page_and_markdown_name_the_json_that_they_belong_to(tmp_path):
    json_path, *others = write_report(make_report(), tmp_path)
    digest = hashlib.sha256(json_path.read_bytes()).hexdigest()
    assert len(others) == 2
    assert all(digest in path.read_text() for path in others)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeeplabMiouError, match="cannot be written") as caught:
        write_report(make_report(), tmp_path / "file" / "folder")
    assert "\n" not in str(caught.value)


def test_folders_are_made_and_files_are_readable_by_others(tmp_path):
    paths = write_report(make_report(), tmp_path / "a" / "b")
    assert [path.name for path in paths] == ["report.json", "report.html", "report.md"]
    umask = os.umask(0)
    os.umask(umask)
    assert paths[0].stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_table_shows_scores_and_every_message():
    text = table_text(make_report(problems=["bag is cut"]))
    assert re.search(r"0 +road .*0\.6667 +\[0\.5000, 0\.7000\]", text)
    assert re.search(r"2 +pole +absent +-", text)
    assert "mIoU 0.5476 [0.4000, 0.8000] over 2 of 3 classes, 1 frame" in text
    assert "images: 3 received = 1 evaluated + 1 waiting + 1 unmatched_image" in text
    assert "labels: 1 received = 1 evaluated" in text
    assert "13 scored (1 with an invalid prediction), 4 ignored (2 of unknown" in text
    assert "incomplete: bag is cut" in text
    order = [text.index(name) for name in ("road", "car", "pole")]
    assert order == sorted(order)


def test_doubts_are_shown_everywhere():
    shuffled = MATRIX[[1, 0, 2]].copy()
    report = make_report(counts=Counts(shuffled, frames=10, ignored=4))
    assert "doubtful: predictions and labels agree barely better" in table_text(report)
    assert "Doubtful: predictions and labels agree" in " ".join(parse(render_page(report)).text)
    (doubt,) = json.loads(to_json(report))["doubts"]
    assert doubt.startswith("predictions and labels agree")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_shows_whole_numbers(width):
    report = make_report()
    lines = table_text(report, width=width).splitlines()
    ious = zip(report.result.totals.class_names, report.result.scores.iou, strict=True)
    for name, iou in ious:
        (line,) = (each for each in lines if f" {name} " in each)
        assert len(line) <= width
        assert f" {iou:.4f} " in line or np.isnan(iou)
        assert "\u2026" not in line


def test_names_cannot_steer_the_terminal():
    text = table_text(make_report(names=(EVIL, "b", "c"), problems=[EVIL]), force_terminal=False)
    assert "\x1b" not in text
    assert "[red]" in text


class _Strict(HTMLParser):
    """Collects tags and attributes; void elements need no end."""

    VOID = frozenset({"meta", "img", "rect", "path", "br", "circle"})

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.links, self.stack, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in {"src", "href", "xlink:href"}]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, _):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(page):
    parser = _Strict()
    parser.feed(page)
    parser.close()
    assert parser.stack == []
    return parser


def test_the_page_shows_what_the_report_holds():
    page = parse(render_page(make_report(problems=["bag is cut"])))
    text = " ".join(" ".join(page.text).split())
    assert "mIoU 0.5476 95 % interval [0.4000, 0.8000]" in text
    assert "2 of 3 classes, 1 frame; net.safetensors" in text
    assert "absent" in text
    assert "unmatched_image 1" in text
    assert "car predicted as road: 1 pixels, 20.00%" in text
    assert "car predicted as invalid prediction: 1 pixels" in text
    assert "net.safetensors" in text
    assert "Incomplete: bag is cut" in text


def pictured(source="/e"):
    frame = WorstFrame(1_700_000_012_100_000_000, source, 0.25, 0.5, (1, 3, 1234), None)
    timeline = Timeline(10**9, np.arange(5) * 10**9, np.array([0.9, 0.8, 0.3, 0.8, 0.9]))
    return make_report(
        worst=[frame],
        pictures=[np.full((6, 8, 3), 90, np.uint8)],
        timeline=timeline,
        palette=np.array([[128, 64, 128], [0, 0, 142], [1, 2, 3]], np.uint8),
    )


def test_the_page_shows_where_the_network_failed():
    page = render_page(pictured())
    text = " ".join(" ".join(parse(page).text).split())
    assert "mIoU 0.2500 , 50.0% of its pixels wrong; 1,234 pixels of car taken for no class" in text
    assert "stamp 1700000012.100000000, 2023-11-14 22:13:32.100 UTC, /e" in text
    assert "2.000 s: mIoU 0.3000" in text
    assert page.count("data:image/jpeg;base64,") == 1
    assert "background: rgb(0, 0, 142)" in page


def test_worst_frames_without_pictures_are_a_table():
    page = render_page(replace(pictured(), pictures=()))
    assert "data:image/jpeg" not in page
    assert "The live report has no images" in " ".join(parse(page).text)


def test_the_json_has_the_worst_frames_and_the_course():
    content = pictured().to_dict()
    assert content["worst_frames"] == [
        {
            "stamp_ns": 1_700_000_012_100_000_000,
            "source": "/e",
            "miou": 0.25,
            "wrong": 0.5,
            "ground_truth": "car",
            "prediction": "invalid prediction",
            "pixels": 1234,
        }
    ]
    assert content["timeline"]["miou"][2] == 0.3
    assert make_report().to_dict()["timeline"] is None


def test_the_summary_names_the_weakest_classes_and_what_they_are_taken_for():
    matrix = np.array(
        [[90, 5, 0, 0, 0], [30, 20, 0, 0, 0], [0, 0, 9, 1, 0], [0, 0, 8, 2, 0]], np.int64
    )
    names = ("road", "pole", "car", "bus")
    report = make_report(names, counts=Counts(matrix), intervals=None)
    text = " ".join(" ".join(parse(render_page(report)).text).split())
    assert "Weakest: bus 0.1818 (taken for car), pole 0.3636 (taken for road)." in text
    assert "Strongest: road 0.7200 ." in text


@pytest.mark.parametrize("place", ["name", "provenance", "problem", "reason", "key", "source"])
def test_the_page_escapes_what_comes_from_outside(place):
    changes = {
        "name": {"names": (EVIL, "b", "c")},
        "provenance": {"provenance": {"bag": EVIL, "list": [EVIL]}},
        "problem": {"problems": [EVIL]},
        "reason": {"account": Account(StreamCounts(1, dropped={EVIL: 1}))},
        "key": {"provenance": {EVIL: 1}},
        "source": {"worst": pictured(EVIL).result.worst, "pictures": ()},
    }[place]
    page = render_page(make_report(**changes))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "script" not in parse(page).tags


@pytest.mark.parametrize("classes", [3, 150])
def test_the_page_needs_nothing_else(classes):
    matrix = np.random.default_rng(0).integers(0, 99, (classes, classes + 1))
    report = make_report(
        names=tuple(f"class {index}" for index in range(classes)),
        counts=Counts(matrix, frames=1),
        intervals=None,
    )
    page = render_page(report)
    parsed = parse(page)
    assert all(link.startswith("data:image/png;base64,") for link in parsed.links)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 400_000


def test_the_environment_is_plain_and_complete():
    facts = environment("cpu")
    json.dumps(facts)
    assert facts["numpy_version"] == np.__version__
    assert facts["cpu_count"] >= 1
    assert facts["gpu"] is None
    assert utc(0) == "1970-01-01T00:00:00Z"


def test_folder_is_made_and_checked(tmp_path):
    check_directory(str(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^folder .*file/x"):
        check_directory(str(tmp_path / "file" / "x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        check_directory(str(tmp_path))
