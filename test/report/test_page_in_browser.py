"""The report page in a real browser: its plot can be read off by pointer and keyboard."""

from __future__ import annotations

import numpy as np
import pytest
from browser import CHROMIUM, visit
from reports import report_of

from deeplab_miou.metric.bootstrap import Timeline
from deeplab_miou.metric.counts import Counts
from deeplab_miou.metric.worst_frames import WorstFrame
from deeplab_miou.report.page import render_page

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")

SECOND = 1_000_000_000
MIOU = [0.9, 0.7, 0.5, 0.8]
READ = (
    "[...document.querySelectorAll('.read')].filter("
    "each => getComputedStyle(each).visibility === 'visible').map(each => each.textContent)"
)


@pytest.fixture
def page(tmp_path):
    matrix = np.array([[60, 20, 0], [10, 30, 1]])
    report = report_of(
        ("road", "<b>car</b>"),
        Counts(matrix, 4),
        timeline=Timeline(SECOND, np.arange(4) * SECOND, np.array(MIOU)),
        worst=(WorstFrame(2 * SECOND + 5 * 10**8, "", 0.25, 0.5, (0, 1, 20), None),),
        pictures=(np.zeros((20, 30, 3), np.uint8),),
    )
    (tmp_path / "report.html").write_text(render_page(report))
    return (tmp_path / "report.html").as_uri()


@pytest.mark.parametrize("width", [1280, 400])
def test_long_names_and_those_from_right_to_left_leave_room_for_numbers(width, tmp_path):
    lorry = "articulated lorry with a trailer " * 3
    names = ("\u05e9\u05dc\u05d5\u05dd", lorry, "road", "car")
    matrix = np.array([[6, 1, 1, 0, 0], [1, 60, 2, 0, 0], [3, 2, 900, 0, 0], [0, 0, 0, 9, 0]])
    # False positives and negatives of each class, all at boundaries.
    mistakes = [[fp, 0, 0, fn, 0, 0, 1, 2] for fp, fn in ((4, 2), (3, 3), (3, 5), (0, 0))]
    report = report_of(names, Counts(matrix, 4, mistakes=np.array(mistakes)))
    (tmp_path / "report.html").write_text(render_page(report))

    async def steps(tab):
        await tab.open((tmp_path / "report.html").as_uri(), width)
        for index in range(2):  # kinds of mistakes, classes
            table = f"document.querySelectorAll('table')[{index}]"
            _, right = await tab.place(table, "0.5000")
            assert right < width
        summary = "document.querySelector('.summary')"
        _, right = await tab.place(summary, names[0])
        left, _ = await tab.place(summary, "0.5000")
        assert left >= right

    visit(steps, tmp_path / "profile")


def test_the_block_under_the_pointer_is_read_off(page, tmp_path):
    async def steps(tab):
        await tab.open(page)
        assert await tab.value(READ) == []
        for index, miou in enumerate(MIOU):
            box = await tab.value(
                f"JSON.parse(JSON.stringify(document.querySelectorAll('.hit')[{index}]"
                ".getBoundingClientRect()))"
            )
            # Anywhere in its column, far from the line as well.
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 5
            await tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
            (text,) = await tab.value(READ)
            assert text.startswith(f"{index}.000 s: mIoU {miou:.4f}")
            assert ("its worst frame, 2.500 s: 0.2500" in text) == (index == 2)

    visit(steps, tmp_path / "profile")


def test_the_keyboard_reads_blocks_and_leads_to_the_worst_frame(page, tmp_path):
    async def press(tab, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = {"Tab": 9, "Enter": 13}[key]
            await tab.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **text,
            )

    async def steps(tab):
        await tab.open(page)
        for miou in MIOU[:3]:
            await press(tab, "Tab")
            (text,) = await tab.value(READ)
            assert f"mIoU {miou:.4f}" in text
        await press(tab, "Enter")
        await tab.until("location.hash === '#frame-1'")
        assert await tab.value("document.querySelector(':target figcaption').textContent.trim()")

    visit(steps, tmp_path / "profile")


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_screen(page, tmp_path, width):
    async def steps(tab):
        await tab.open(page, width)
        assert await tab.value("document.documentElement.scrollWidth") <= width

    visit(steps, tmp_path / "profile")


def test_print_is_dark_on_white_even_from_a_dark_screen(page, tmp_path):
    async def steps(tab):
        await tab.open(page)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await tab.call("Emulation.setEmulatedMedia", media="screen", features=dark)
        paper = "getComputedStyle(document.body).backgroundColor"
        assert await tab.value(paper) == "rgb(20, 23, 26)"
        await tab.call("Emulation.setEmulatedMedia", media="print", features=dark)
        assert await tab.value(paper) == "rgb(255, 255, 255)"
        assert await tab.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        hint = "getComputedStyle(document.querySelector('.screen')).display"
        assert await tab.value(hint) == "none"

    visit(steps, tmp_path / "profile")


def test_the_names_of_regions_stay_in_sight(tmp_path):
    matrix = np.full((19, 20), 5)
    names = tuple(f"class {k}" for k in range(19))
    whole = report_of(names, Counts(matrix, 4)).result
    report = report_of(names, Counts(matrix, 4), regions={"a region of many words": whole})
    (tmp_path / "report.html").write_text(render_page(report))
    cell = "[...document.querySelectorAll('table.regions td.text')].pop().getBoundingClientRect()"

    async def steps(tab):
        await tab.open((tmp_path / "report.html").as_uri(), width=400)
        before = await tab.value(f"{cell}.left")
        script = "document.querySelector('table.regions').parentNode.scrollLeft = 300"
        assert await tab.value(script) == 300
        assert await tab.value(f"{cell}.left") == before
        assert await tab.value(f"{cell}.width") < 200
        assert await tab.value("document.documentElement.scrollWidth") <= 400

    visit(steps, tmp_path / "profile")
