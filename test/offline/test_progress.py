"""What is shown while an evaluation runs: in a terminal, in a log, and nothing where asked."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from image_files import mono8
from rich.console import Console

from deeplab_miou import cli
from deeplab_miou.aggregation.results import Result, Totals
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.metric.bootstrap import Intervals
from deeplab_miou.metric.counts import Counts
from deeplab_miou.metric.scores import compute_scores
from deeplab_miou.offline import progress
from deeplab_miou.offline.progress import Meter

SECOND = 1_000_000_000
CLASSES = 19


@pytest.fixture
def bag(tmp_path):
    """A bag of 60 frames at 2 Hz, and its ground truth and predictions, (60, 24, 32)."""
    random = np.random.default_rng(7)
    truth, guess = random.integers(0, CLASSES, (2, 60, 24, 32)).astype(np.uint8)
    guess = np.where(random.random(truth.shape) < 0.7, truth, guess).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(60):
            writer.write_image("/guess", k * SECOND // 2, "", mono8(guess[k]))
            writer.write_image("/truth", k * SECOND // 2, "", mono8(truth[k]))
    return tmp_path / "bag", truth, guess


def command(bag, *more):
    words = ["evaluate", bag, "--prediction-topic", "/guess", "--label-topic", "/truth"]
    return [str(each) for each in (*words, "--labels", "cityscapes_train_ids", *more)]


def miou(truth, guess):
    classes = range(CLASSES)
    overlap = [np.sum((truth == c) & (guess == c)) for c in classes]
    union = [np.sum((truth == c) | (guess == c)) for c in classes]
    return np.mean(np.divide(overlap, union))


def test_lines_tell_the_score_of_the_frames_read_so_far(bag, monkeypatch, capsys):
    path, truth, guess = bag
    monkeypatch.setattr(progress, "LINE_PERIOD_S", 0.0)
    monkeypatch.setattr(progress, "_COST", 0)
    assert cli.main(command(path)) == 0
    lines = re.findall(
        r"^(\d+) of 120 messages, \d:\d\d:\d\d left, [\d.]+ frames/s, "
        r"mIoU ([\d.]+)(?: \[(.*), (.*)\])?$",
        capsys.readouterr().err,
        re.MULTILINE,
    )
    assert len(lines) == 118  # all but the first, before there is a frame, and the last
    for done, found, _, _ in lines:
        frames = int(done) // 2
        assert float(found) == pytest.approx(miou(truth[:frames], guess[:frames]), abs=6e-5)
    lower, upper = map(float, lines[-1][2:])
    assert lower < float(lines[-1][1]) < upper


@pytest.mark.parametrize("option", [["--quiet"], ["--format", "json"]])
def test_nothing_is_shown_where_programs_read(bag, monkeypatch, capsys, option):
    monkeypatch.setattr(progress, "LINE_PERIOD_S", 0.0)
    assert cli.main(command(bag[0], *option)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert option == ["--quiet"] or json.loads(captured.out)["frames"] == 60


def test_lines_of_several_bags_name_the_bag(bag, tmp_path, monkeypatch, capsys):
    path, truth, guess = bag
    for name in ("a", "b"):
        shutil.copytree(path, tmp_path / "drives" / name)
    monkeypatch.setattr("deeplab_miou.offline.bags_progress.LINE_PERIOD_S", 0.0)
    monkeypatch.setattr(progress, "_COST", 0)
    assert cli.main(command(tmp_path / "drives", "--output", tmp_path / "out")) == 0
    shown = capsys.readouterr().err
    half = f"{miou(truth[:30], guess[:30]):.4f}"
    for place in ("[1/2] a", "[2/2] b"):
        assert re.search(
            rf"^{re.escape(place)}: 50% read, .* frames/s, mIoU {half}", shown, re.MULTILINE
        )


def run_in_terminal(words, variables):
    """Run a command with a terminal as standard error; return what it drew there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "deeplab_miou.cli", *words],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "100", **variables},
    ) as process:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            drawn += part
            if not part:
                break
    os.close(ours)
    assert process.returncode == 0
    return drawn.decode()


def test_a_terminal_has_a_bar_which_is_taken_down(bag):
    drawn = run_in_terminal(command(bag[0]), {"TERM": "xterm"})
    assert "messages" in drawn
    assert "\x1b[2K" in drawn  # drawn over itself


def test_a_dumb_terminal_has_no_bar(bag):
    drawn = run_in_terminal(command(bag[0]), {"TERM": "dumb"})
    assert "\x1b" not in drawn


def test_forced_colours_put_no_bar_into_a_log(bag):
    done = subprocess.run(
        [sys.executable, "-m", "deeplab_miou.cli", *command(bag[0])],
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        check=True,
    )
    assert b"messages" not in done.stderr
    assert b"\x1b[2K" not in done.stderr


def half_right():
    """Return the result of 50 frames with an mIoU of 0.5 and its interval."""
    matrix = np.array([[2, 1, 0], [1, 2, 0]])
    intervals = replace(Intervals.none(2, 0, "", "blocks of time"), miou=(0.4, 0.6))
    return Result(Totals(("a", "b"), Counts(matrix, 50)), compute_scores(matrix), intervals)


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def monotonic(self):
        return self.now_s


def test_scores_are_computed_once_in_a_while_and_seldom_if_they_are_slow(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    asked = []

    def result(takes_s=0.0):
        asked.append(clock.now_s)
        clock.now_s += takes_s
        return half_right()

    meter = Meter(1.0)
    for _ in range(1000):
        clock.now_s += 0.01
        meter.read(result)
    assert 9 <= len(asked) <= 10
    assert min(np.diff(asked)) > 0.99
    del asked[:]
    clock.now_s += 1
    text = meter.read(lambda: result(2.0))
    assert text.endswith("frames/s, mIoU 0.5000 [0.4000, 0.6000]")
    for _ in range(5000):
        clock.now_s += 0.01
        meter.read(lambda: result(2.0))
    # What takes two seconds is asked for again after forty.
    assert np.diff(asked).tolist() == [pytest.approx(42, abs=0.1)]


def test_the_bar_has_the_score_next_to_it(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    shown = progress.bars(Console(file=io.StringIO()))
    bar = progress.Bar(shown, None)
    bar.begin("messages")

    def result():
        return half_right()

    bar.move(1, 200, result)
    clock.now_s += 10
    bar.move(100, 200, result)
    (task,) = shown.tasks
    assert (task.completed, task.total) == (100, 200)
    assert task.fields["score"] == "5.0 frames/s, mIoU 0.5000 [0.4000, 0.6000]"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_time_left_and_score_are_legible_in_a_narrow_terminal(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    shown = progress.bars(console)
    shown.add_task(
        "messages", total=200, completed=100, score="17.5 frames/s, mIoU 0.5000 [0.4, 1]"
    )
    console.print(shown.get_renderable())
    (line,) = console.file.getvalue().splitlines()
    assert "-:--:-- 17.5 frames/s, mIoU 0.5000" in line
    assert len(line) <= width


def test_time_left_is_that_of_what_is_done(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    meter = Meter(1000.0)
    clock.now_s += 500  # loading the network
    assert meter.read(lambda: pytest.fail("not due")) == ""
    clock.now_s += 30
    assert meter.time_left(100, 400) == "0:01:30 left"
