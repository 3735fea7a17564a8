"""The page in a real browser, where Chromium is installed: what it shows, and that it goes on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from browser import CHROMIUM, LIMIT_S, visit

from deeplab_miou.accounting import Reason
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.text import capitalized
from deeplab_miou.watch import picture
from deeplab_miou.watch.board import Board
from deeplab_miou.watch.history import History, ScorePoint
from deeplab_miou.watch.picture import Picture
from deeplab_miou.watch.server import Server
from deeplab_miou.watch.worst import WorstMoments

MARKUP = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


BOUNDS = ("miou_lower", "miou_upper")
CELLS = "[...document.querySelectorAll('#{} tr')].map(r => [...r.cells].map(c => c.textContent))"


def scores(time_s, frames, miou, names):
    one = {"iou_lower": 0.1, "iou_upper": 0.3, "precision": 0.5, "recall": 0.25, "f1": 1 / 3}
    counts = {"true_positive": 1000, "false_positive": 1, "false_negative": 234}
    kinds = {"boundary_errors": 0.5, "extent_errors": 0.125, "segment_errors": 0.0625}
    none = dict.fromkeys((*kinds, "boundary_iou"))
    whole = ("weighted_miou", "frequency_weighted_iou", "pixel_accuracy", "mean_accuracy")
    return {
        "t": time_s,
        "stamp": 1.0,
        "frames": frames,
        "missing_frames": 0,
        "miou": miou,
        "miou_lower": miou - 0.1,
        "miou_upper": miou + 0.1,
        "miou_anytime_lower": None,
        "miou_anytime_upper": None,
        **dict.fromkeys(whole, 0.5),
        "labelled_pixels": 7,
        "present_classes": len(names),
        "interval_note": "",
        "sources": ["/deeplab_evaluator"],
        "depth": f"depth: of {frames} frames 3 have no depth image",
        "classes": [
            {"id": index, "name": name, "iou": (7 * index % len(names)) / 200, **one, **counts}
            # Of a class that is absent, nothing is known.
            | ({**kinds, "boundary_iou": 0.75} if index in (0, len(names) - 1) else none)
            for index, name in enumerate(names)
        ],
        "slices": [
            {"label": MARKUP, "frames": 1234, "miou": 0.25, "miou_lower": 0.2, "miou_upper": 0.5}
            | {"interval_note": ""},
            {"label": "no tag", "frames": 1, **dict.fromkeys(("miou", *BOUNDS))}
            | {"interval_note": "too few frames"},
        ],
        "regions": [
            region(
                f"{MARKUP} far", 0.75, (0.5, 1.0), [("sky", 0.75), (MARKUP, 0.5), ("sea", None)]
            ),
            region("near", None, (None, None), [("sky", None)]),
            region("border", 0.25, (None, None), [("sky", 0.25)]),
        ],
    }


def region(name, miou, interval, ious):
    return {
        "name": name,
        "miou": miou,
        "miou_lower": interval[0],
        "miou_upper": interval[1],
        "interval_note": "" if interval[0] else "too few blocks",
        "labelled_pixels": 4321,
        "classes": [{"name": each, "iou": iou} for each, iou in ious],
    }


def difference(names):
    bounds = {"lower": -0.05, "upper": 0.15, "anytime_lower": None, "anytime_upper": None}
    return {
        "difference": 0.05,
        **bounds,
        "frames": 1000,
        "miou_a": 0.7,
        "miou_b": 0.75,
        "decided_frames": 1200,
        "decided_at": "14:03:20",
        "predicted_frames": 1500,
        "disagreement": 0.0625,
        "name_a": "old.pth",
        "name_b": MARKUP,
        "verdict": "no evidence",
        "decision": "better",
        "interval_note": "",
        "note": "",
        "only_a": 3,
        "only_b": 0,
        "classes": [
            {"id": k, "name": name, "difference": (k - 3) / 100, "verdict": "worse", **bounds}
            for k, name in enumerate(names)
        ],
    }


def status(name, values, **fields):
    return {
        "t": 1,
        "name": name,
        "level": 0,
        "message": MARKUP,
        "is_silent": False,
        "values": values,
        **fields,
    }


def serve(port, names, time_s, frames, miou):
    board, history = Board(), History()
    history.add(ScorePoint(time_s - 1, frames - 1, (0.4, 0.3, 0.5, None, None)))
    worst = WorstMoments()
    matrix = np.diag(np.full(len(names) + 1, 9, np.int64))[:-1]
    for k in range(8):
        matrix[0, -2] = k
        worst.add(matrix, k * 10**9, MARKUP, "run")
    worst.show(MARKUP, 7 * 10**9, np.zeros((30, 40, 3), np.uint8))
    histories = {"result": history, "window": History()}
    pictures = {name: Picture() for name in ("overlay", "mistakes", "ground_truth")}
    pictures["overlay"].show(np.zeros((20, 60, 3), np.uint8))
    pictures["mistakes"].show(np.zeros((20, 50, 3), np.uint8))
    server = Server(board, histories, pictures, worst, period_s=0.05)
    board.put("worst", worst.content(names))
    address = server.start("127.0.0.1", port)
    board.put("result", scores(time_s, frames, miou, names))
    board.put("window", scores(time_s, frames, 0.625, names))
    matrix = [[3 * (g == p) + (p == 1) for p in range(len(names) + 1)] for g in range(len(names))]
    board.put("confusion", {"names": names, "frames": frames, "counts": matrix, "doubts": [MARKUP]})
    dropped = {"unmatched_image": 12, "constructor": 3, MARKUP: 1}
    images = {"received": 1017, "evaluated": 1000, "waiting": 1, "dropped": dropped}
    labels = {"received": 1000, "evaluated": 1000, "waiting": 0, "dropped": {}}
    board.put("account", {"images": images, "labels": labels})
    board.put("comparison", difference(names))
    values = {"played (s)": "12.0", "to play (s)": "48.0", MARKUP: MARKUP}
    board.put("nodes", [status(MARKUP, values, level=2)])
    return server, address


def test_the_worst_moments_have_their_pictures(tmp_path):
    names = [f"class {index}" for index in range(7)] + [MARKUP]
    server, address = serve(0, names, 1000.0, 1000, 0.75)

    async def steps(tab):
        await tab.open(address)
        await tab.until("state.worst.length && !asked.size")
        found = await tab.value(
            "[...document.querySelectorAll('#worst figure')].map(each => each.innerText)"
        )
        assert len(found) == 6
        # Class 0 loses 7 of 16 pixels to the last one: two of eight IoUs are below 1.
        miou = (6 + 9 / 16 + 9 / 16) / 8
        assert found[0].startswith(f"7.000 s: mIoU {miou:.4f}, {100 * 7 / 79:.2f} % of its pixels")
        assert f"7 pixels of class 0 taken for {MARKUP}" in found[0]
        await tab.until("document.querySelector('#worst img').naturalWidth === 40")
        assert await tab.value("document.querySelectorAll('#worst img').length") == 1
        assert not await tab.value("window.pwned")
        # The same moment of another run, as when a drive is played again.
        matrix = np.array([[1, 5, 0], [0, 6, 0]], np.int64)
        worst = server._worst
        worst.add(matrix, 7 * 10**9, MARKUP, "another run")
        worst.show(MARKUP, 7 * 10**9, np.zeros((30, 45, 3), np.uint8))
        server._board.put("worst", worst.content(["road", "car"]))
        await tab.until("document.querySelector('#worst img').naturalWidth === 45")

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


async def check_parts(tab):
    """See what it shows of slices and regions."""
    assert await tab.value(CELLS.format("slices")) == [
        [MARKUP, "", "0.2500", "[0.2000, 0.5000]", "1,234"],
        ["no tag", "absent", "\u2013", "none", "1"],
    ]
    assert await tab.text("slices-notes") == "No interval for no tag: too few frames."
    assert (await tab.text("regions-notes")).split("\n\n") == [
        "No interval for border, near: too few blocks.",
        "depth: of 1000 frames 3 have no depth image.",
    ]
    assert await tab.value(CELLS.format("regions")) == [
        ["border", "", "0.2500", "none", "sky 0.2500", "4,321"],
        [f"{MARKUP} far", "", "0.7500", "[0.5000, 1.0000]", f"{MARKUP} 0.5000", "4,321"],
        ["near", "absent", "\u2013", "none", "", "4,321"],
    ]


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("classes", [8, 150])
def test_what_it_shows(width, classes, tmp_path):
    names = [f"class {index}" for index in range(classes - 1)] + [MARKUP]
    server, address = serve(0, names, 1000.0, 1000, 0.75)

    async def steps(tab):
        await tab.open(address, width)
        await tab.until("state.result && state.confusion && state.nodes.length && !asked.size")
        assert await tab.text("miou") == "0.7500"
        assert await tab.text("interval") == "95 % interval [0.6500, 0.8500]"
        assert "0.6250\nWindow, 1,000 frames" in await tab.text("tiles")
        assert await tab.value("get('progress').value") == 0.25
        shown = await tab.value(
            "[...document.querySelectorAll('#classes tr')].map(r => [r.cells[0].textContent, "
            "r.cells[2].textContent, r.cells[7].textContent])"
        )
        ious = [(7 * index % classes) / 200 for index in range(classes)]
        order = sorted(range(classes), key=lambda index: (ious[index], index))
        assert shown == [[names[index], f"{ious[index]:.4f}", "1,234"] for index in order]
        await check_parts(tab)
        assert await tab.value(CELLS.format("kinds")) == [
            [names[index], "", "0.5000", "0.1250", "0.0625", "0.7500"] for index in (0, classes - 1)
        ]
        widths = (
            "[...document.querySelectorAll('#kinds tr:last-child rect')]"
            ".map(r => r.getAttribute('width') / 200)"
        )
        expected = [1, ious[classes - 1], 0.5, 0.125, 0.0625]
        assert await tab.value(widths) == pytest.approx(expected)
        account = await tab.value(
            "[...document.querySelectorAll('#account tr')].map(r => "
            "[0, 1, 2].map(i => r.cells[i].textContent))"
        )
        assert account == [
            ["received", "1,017", "1,000"],
            ["evaluated", "1,000", "1,000"],
            ["waiting", "1", "0"],
            ["unmatched_image", "12", "0"],
            ["constructor", "3", "0"],
            [MARKUP, "1", "0"],
        ]
        meaning = "[...document.querySelectorAll('#account tr')].map(r => r.cells[3].textContent)"
        assert (await tab.value(meaning))[3:5] == [Reason.UNMATCHED_IMAGE.explanation, ""]
        tiles = await tab.text("tiles")
        assert all(capitalized(words) in tiles for words in [*HEADLINES.values()][1:])
        assert await tab.text("comparison-headline") == (
            "B - A +0.0500 [-0.0500, +0.1500] no evidence"
        )
        scope = await tab.text("comparison-scope")
        assert f"B: {MARKUP}, mIoU 0.7500; 1,000 common frames; 3 of A only, 0 of B only" in scope
        assert "disagreement 6.25 % of the pixels of 1,500 frames" in scope
        assert scope.endswith("decided at 14:03:20 after 1,200 frames: better")
        rows = "document.querySelectorAll('#comparison-classes tr')"
        gaps = f"[...{rows}].map(r => r.cells[1].textContent)"
        assert (await tab.value(gaps))[:4] == ["-0.0300", "-0.0200", "-0.0100", "+0.0000"]
        # Keys read what is drawn.
        press = "get({!r}).dispatchEvent(new KeyboardEvent('keydown', {{key: {!r}}}))"
        for key in ("ArrowRight", "ArrowRight"):
            await tab.value(press.format("confusion", key))
        await tab.until("get('confusion-readout').textContent.includes('25.00')")
        assert (
            await tab.text("confusion-readout") == "class 0 predicted as class 1: 1 pixels, 25.00 %"
        )
        await tab.value(press.format("course", "End"))
        await tab.until("get('course-readout').textContent")
        assert "mIoU 0.7500 [0.6500, 0.8500], 1,000 frames" in await tab.text("course-readout")
        # Names are text, and nothing is wider than the screen.
        assert await tab.value("document.querySelectorAll('table img, #nodes img').length") == 0
        assert await tab.value("typeof window.pwned") == "undefined"
        assert await tab.value("document.documentElement.scrollWidth") <= width

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


def test_a_node_that_has_gone_silent_is_said_and_focus_stays(tmp_path):
    server, address = serve(0, ["road", "car"], 1000.0, 10, 0.75)

    def put(**fields):
        replay = status("/replay: r", {"played (s)": "1", "to play (s)": "1"}, is_silent=True)
        others = [status("/evaluator: e", {"frames": "7"}, **fields), replay]
        server._board.put("nodes", others)

    async def steps(tab):
        await tab.open(address)
        put()
        await tab.until("document.querySelectorAll('.node').length === 2 && !asked.size")
        # A replay that is over is no reason to worry.
        assert "silent" not in await tab.text("warnings")
        await tab.value("document.querySelector('.node summary').focus()")
        await tab.value("document.activeElement.click()")
        put(is_silent=True, t=1000.0)
        await tab.until("get('warnings').textContent.includes('/evaluator: e: silent since')")
        summary = await tab.value("document.activeElement.innerText")
        assert summary.startswith("/evaluator: e silent since ")
        assert summary.endswith(f"before that: fine: {MARKUP}")
        assert await tab.value("document.activeElement.parentElement.open")
        put()
        await tab.until("!get('warnings').textContent.includes('silent') && !asked.size")
        assert (
            await tab.value("document.activeElement.innerText") == f"/evaluator: e fine: {MARKUP}"
        )

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


def test_a_tab_that_nobody_looks_at_keeps_no_connection(tmp_path):
    server, address = serve(0, ["road", "car"], 1000.0, 10, 0.75)
    turn = (
        "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {}}});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )

    async def watchers(number):
        for _ in range(int(LIMIT_S / 0.02)):
            if server.watchers == number:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{server.watchers} watchers, expected {number}")

    async def steps(tab):
        await tab.open(address)
        await tab.until("get('miou').textContent === '0.7500'")
        await watchers(1)
        await tab.value(turn.format("true"))
        server._board.put("result", scores(1001.0, 11, 0.25, ["road", "car"]))
        await watchers(0)
        assert await tab.text("miou") == "0.7500"
        await tab.value(turn.format("false"))
        await tab.until("get('miou').textContent === '0.2500'")
        assert server.watchers == 1

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


def test_a_number_stays_right_of_a_name_that_runs_from_right_to_left(tmp_path):
    name = "\u05e9\u05dc\u05d5\u05dd"
    server, address = serve(0, ["road", name], 1000.0, 10, 0.75)
    regions = [region("near", 0.5, (None, None), [(name, 0.25)])]
    server._board.put("result", scores(1000.0, 10, 0.75, ["road", name]) | {"regions": regions})

    async def steps(tab):
        await tab.open(address)
        await tab.until("state.result && state.confusion && !asked.size")
        for _ in range(2):  # the first row's first cell, then its second
            await tab.value(
                "get('confusion').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
            )
        await tab.until("!asked.size")
        said = f"road predicted as {name}: 1 pixels, 25.00 %"
        assert await tab.text("confusion-readout") == said
        for where, number in (("confusion-readout", "25.00"), ("regions", "0.2500")):
            element = f"document.getElementById({where!r})"
            _, right = await tab.place(element, name)
            left, _ = await tab.place(element, number)
            assert left >= right, where
        # A name that is cut is cut between characters.
        assert await tab.value("cut('\U0001f697'.repeat(19))") == 17 * "\U0001f697" + "\u2026"

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


def test_what_has_the_keyboards_focus_has_a_ring_all_around(tmp_path):
    server, address = serve(0, ["road", "car"], 1000.0, 10, 0.75)
    outside = """(() => {
        const focused = document.activeElement;
        const style = getComputedStyle(focused);
        const reach = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
        const [box, around] = [focused, focused.closest('.scroll') || document.documentElement]
            .map((each) => each.getBoundingClientRect());
        return style.outlineStyle === 'none' || box.left - reach < around.left
            || box.right + reach > around.right || box.top - reach < around.top
            || box.bottom + reach > around.bottom;
    })()"""

    async def steps(tab):
        await tab.open(address, 400)
        await tab.until("state.result && state.confusion && !asked.size")
        for name in ("course", "confusion"):
            await tab.value(f"get('{name}').focus()")
            assert await tab.value("document.activeElement.id") == name
            assert not await tab.value(outside), name

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


def test_pictures_appear_when_they_are_asked_for(tmp_path, monkeypatch):
    server, address = serve(0, ["road", "car"], 1000.0, 10, 0.75)

    async def steps(tab):
        await tab.open(address)
        captions = "[...document.querySelectorAll('#pictures figcaption')].map(c => c.innerText)"
        assert await tab.value("get('pictures').offsetHeight") == 0
        await tab.value("get('look').click()")
        for name, width in (("overlay", 60), ("mistakes", 50)):
            await tab.until(f"get('{name}').naturalWidth === {width} && !get('{name}').hidden")
        # Each says when there is none.
        assert await tab.value(captions) == [
            "Prediction",
            "Mistakes, in red",
            "Ground truth no picture yet",
        ]
        # A server that has just come back has none, and the page still shows what it was given.
        monkeypatch.setattr(picture, "_WANTED_S", 0.0)
        assert not server._pictures["overlay"].is_wanted
        await tab.value("lookAt('overlay').then(() => { state.isAnswered = true; }); 0")
        await tab.until("state.isAnswered")
        assert (await tab.value(captions))[0] == "Prediction"
        await tab.value("get('look').click()")
        assert await tab.value("get('pictures').offsetHeight") == 0

    try:
        visit(steps, tmp_path)
    finally:
        server.stop()


def test_it_goes_on_by_itself_when_the_server_comes_back(tmp_path):
    names = ["road", "car"]
    servers = [serve(0, names, 1000.0, 10, 0.75)]
    address = servers[0][1]

    async def steps(tab):
        await tab.open(address)
        await tab.until("get('miou').textContent === '0.7500'")
        await asyncio.to_thread(servers[0][0].stop)
        await tab.until("get('link').className.includes('lost')")
        assert await tab.text("miou") == "0.7500"
        # Trying again does not change since when it is lost.
        lost = await tab.text("link")
        for _ in range(2):
            await tab.value("state.beat_s = 0.1; state.tried = source; 0")
            await tab.until("source !== state.tried")
        assert await tab.text("link") == lost
        port = int(address.rsplit(":", 1)[1].rstrip("/"))
        servers[0] = await asyncio.to_thread(serve, port, names, 2000.0, 5, 0.5)
        await tab.until("get('miou').textContent === '0.5000' && !asked.size")
        assert await tab.text("link") == "live"
        # What it saw before is still there, and the line begins anew.
        assert await tab.value("state.points.map(p => p[1])") == [9, 10, 4, 5]
        assert await tab.value("pieces(state.points, p => p[2] !== null).length") == 2

    try:
        visit(steps, tmp_path)
    finally:
        servers[0][0].stop()
