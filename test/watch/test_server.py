from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time

import aiohttp
import numpy as np
import pytest

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.watch.board import Board
from deeplab_miou.watch.history import History, ScorePoint
from deeplab_miou.watch.page import load_page
from deeplab_miou.watch.picture import Picture
from deeplab_miou.watch.server import Server
from deeplab_miou.watch.worst import WorstMoments

LIMIT_S = 20.0


class Shown:
    """A server with what it shows."""

    def __init__(self, **options):
        self.board, self.history = Board(), History()
        self.pictures = {"overlay": Picture(), "ground_truth": Picture()}
        self.worst = WorstMoments()
        histories = {"result": self.history}
        options = {"period_s": 0.01, **options}
        self.server = Server(self.board, histories, self.pictures, self.worst, **options)
        self.address = self.server.start("127.0.0.1", 0)


@pytest.fixture
def shown():
    made = []

    def show(**options):
        made.append(Shown(**options))
        return made[-1]

    yield show
    for each in made:
        each.server.stop()


def browse(visit):
    """Run a coroutine with a client, as a browser would be one."""

    async def run():
        async with aiohttp.ClientSession() as client:
            return await asyncio.wait_for(visit(client), LIMIT_S)

    return asyncio.run(run())


async def events(response):
    """Yield the events of a stream as the standard says they are read."""
    name, data = "", []
    async for line in response.content:
        text = line.decode().rstrip("\n")
        field, _, value = text.partition(": ")
        if not text:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


async def until(response, name, right=lambda _: True):
    """Return the first event of a name that is right, and the names of those before it."""
    names = []
    async for each, content in events(response):
        names.append(each)
        if each == name and right(content):
            return content, names
    raise AssertionError(f"the stream ended after {names}")


def wait_for(condition):
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"not within {LIMIT_S} s")


def test_the_page_is_one_file_that_asks_for_nothing_elsewhere(shown):
    address = shown().address

    async def visit(client):
        async with client.get(address) as response:
            return response.status, response.headers, await response.text()

    status, headers, html = browse(visit)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    for way_out in (
        "http://",
        "https://",
        "//cdn",
        "@import",
        '<link rel="stylesheet',
        'src="http',
    ):
        assert way_out not in html.replace("http://www.w3.org/2000/svg", ""), way_out
    ids = re.findall(r'\sid="([^"]*)"', html)
    assert len(ids) == len(set(ids)), sorted(ids)
    # Text of the graph must never be able to become markup.
    for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert danger not in html, danger


def test_a_watcher_is_sent_what_there_is_and_then_what_changes(shown):
    show = shown()
    show.history.add(ScorePoint(1.0, 5, (0.25, float("nan"))))
    show.board.put("result", {"miou": 0.5, "miou_lower": float("nan"), "name": "<b>ö\u2028"})

    async def visit(client):
        async with client.get(show.address + "events") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-store"
            stream = events(response)
            got = [await anext(stream) for _ in range(3)]
            show.board.put("other", [1])
            got.append(await anext(stream))
            show.board.put("other", [1])  # is no change
            show.board.put("result", {"miou": 0.75})
            got.append(await anext(stream))
            return got

    hello, history, *parts = browse(visit)
    assert hello == ("hello", {"page": load_page().digest, "beat_s": 5.0})
    assert history == ("history", {"result": [[1.0, 5, [0.25, None]]]})
    assert parts == [
        ("result", {"miou": 0.5, "miou_lower": None, "name": "<b>ö\u2028"}),
        ("other", [1]),
        ("result", {"miou": 0.75}),
    ]


def test_a_slow_watcher_misses_what_is_out_of_date(shown):
    show = shown(period_s=0.2)

    async def visit(client):
        async with client.get(show.address + "events") as response:
            await until(response, "history")
            for number in range(1000):
                show.board.put("result", number)
            return await until(response, "result", lambda number: number == 999)

    _, names = browse(visit)
    assert len(names) < 10


def test_a_watcher_that_stalls_is_dropped_and_others_are_served(shown):
    show = shown(stall_s=0.5)
    host, port = show.address.removeprefix("http://").rstrip("/").split(":")
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect((host, int(port)))
    stalled.sendall(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    wait_for(lambda: show.server.watchers == 1)
    large = "x" * 4_000_000
    numbers = iter(range(10**6))

    def dropped():
        show.board.put("large", [next(numbers), large])
        return show.server.watchers == 0

    wait_for(dropped)
    stalled.close()

    async def visit(client):
        async with client.get(show.address + "events", read_bufsize=2**24) as response:
            return await until(response, "hello")

    assert browse(visit)[0]["page"]


def test_watchers_who_leave_are_forgotten_and_too_many_are_refused(shown):
    show = shown()

    async def visit(client):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(64):
                response = await stack.enter_async_context(client.get(show.address + "events"))
                await until(response, "history")
            async with client.get(show.address + "events") as refused:
                return refused.status

    async def run():
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as client:
            return await asyncio.wait_for(visit(client), LIMIT_S)

    assert asyncio.run(run()) == 503
    numbers = iter(range(10**6))

    def left():
        show.board.put("n", next(numbers))
        return show.server.watchers == 0

    wait_for(left)


def test_a_page_of_elsewhere_cannot_read_it_under_a_name_of_its_own(shown):
    address = shown().address
    port = address.rsplit(":", 1)[1].rstrip("/")

    async def visit(client):
        found = {}
        for host in (
            f"evil.example:{port}",
            "evil.example",
            f"localhost:{port}",
            f"[::1]:{port}",
            "127.0.0.1:1",
            "localhost",
        ):
            async with client.get(address, headers={"Host": host}) as response:
                found[host.partition(":" + port)[0]] = response.status
                assert "Access-Control-Allow-Origin" not in response.headers
        return found

    found = browse(visit)
    # Through a tunnel the port is another one.
    right = {"localhost": 200, "[::1]": 200, "127.0.0.1:1": 200}
    assert found == {"evil.example": 403, **right}


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do(shown):
    address = shown().address
    port = int(address.rsplit(":", 1)[1].rstrip("/"))
    with pytest.raises(ConfigurationError, match=rf"port {port}: .*in use.*; set host"):
        Server(Board(), {}, {}, WorstMoments()).start("127.0.0.1", port)
    with pytest.raises(ConfigurationError, match=r"'192\.0\.2\.1', port 0"):
        Server(Board(), {}, {}, WorstMoments()).start("192.0.2.1", 0)


def test_stopping_ends_streams_and_gives_the_port_back(shown):
    show = shown()
    port = int(show.address.rsplit(":", 1)[1].rstrip("/"))

    async def visit(client):
        async with client.get(show.address + "events") as response:
            await until(response, "history")
            began_s = time.monotonic()
            await asyncio.to_thread(show.server.stop)
            async for _ in response.content:
                pass
            return time.monotonic() - began_s

    assert browse(visit) < 5
    again = Server(Board(), {}, {}, WorstMoments())
    assert again.start("127.0.0.1", port) == show.address
    again.stop()
    show.server = Server(Board(), {}, {}, WorstMoments())  # for the fixture to stop
    show.server.start("127.0.0.1", 0)


def test_a_picture_is_wanted_while_somebody_asks_for_it(shown):
    show = shown()
    overlay, truth = show.pictures.values()
    assert not overlay.is_wanted

    async def visit(client):
        async with client.get(show.address + "overlay.jpg") as none:
            assert none.status == 204
        assert overlay.is_wanted
        assert not truth.is_wanted
        overlay.show(np.full((300, 2000, 3), (200, 10, 30), np.uint8))
        async with client.get(show.address + "overlay.jpg") as some:
            return some.headers["Content-Type"], await some.read()

    import cv2  # noqa: PLC0415

    kind, data = browse(visit)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert kind == "image/jpeg"
    assert picture.shape == (144, 960, 3)
    assert np.abs(picture.mean(axis=(0, 1)) - (30, 10, 200)).max() < 3
    assert not overlay.is_due
