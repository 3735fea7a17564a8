"""Serves the page and its event stream, in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.watch.board import to_json
from deeplab_miou.watch.page import load_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from deeplab_miou.watch.board import Board
    from deeplab_miou.watch.history import History
    from deeplab_miou.watch.picture import Picture
    from deeplab_miou.watch.worst import WorstMoments

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_WATCHERS = 64
_PERIOD_S = 0.4
_BEAT_S = 5.0
_STALL_S = 10.0
_RETRY_MS = 1000
_START_LIMIT_S = 10.0
_STOP_LIMIT_S = 1.0
_TIMEOUT = concurrent.futures.TimeoutError  # before Python 3.11 not the built-in one
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Server:
    """Shows a board to everybody who opens the page.

    Each watcher is sent what has changed since it was last sent something: nothing is queued for
    a slow one, and one that takes nothing for a while is dropped.

    Args:
        board: what is shown.
        histories: scores over time by name, sent to a watcher once, when it comes.
        pictures: of the newest frame, by name: each is served as its name and ``.jpg``.
        worst: the pictures of the worst moments.
        period_s: least time between two events to one watcher, seconds.
        stall_s: how long a watcher may take nothing, seconds.
    """

    def __init__(
        self,
        board: Board,
        histories: dict[str, History],
        pictures: dict[str, Picture],
        worst: WorstMoments,
        *,
        period_s: float = _PERIOD_S,
        stall_s: float = _STALL_S,
    ) -> None:
        self._board = board
        self._histories = histories
        self._pictures = pictures
        self._worst = worst
        self._period_s = period_s
        self._stall_s = stall_s
        self._page = load_page()
        self._watchers = 0
        self._hosts: frozenset[str] = frozenset()
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._is_closing = False
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="watch", daemon=True)

    @property
    def watchers(self) -> int:
        """How many streams of events are open."""
        return self._watchers

    def start(self, host: str, port: int) -> str:
        """Begin to serve.

        Args:
            host: address or name to listen on.
            port: to listen on; 0 for any that is free.

        Returns:
            The page's address.

        Raises:
            ConfigurationError: one cannot listen there.
        """
        self._thread.start()
        opening = asyncio.run_coroutine_threadsafe(self._open(host, port), self._loop)
        try:
            taken = opening.result(_START_LIMIT_S)
        except (OSError, OverflowError, UnicodeError, _TIMEOUT) as error:
            self.stop()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ConfigurationError(
                f"cannot serve the page on {host!r}, port {port}: {reason}; set host to an address "
                "of this machine, port to another one, or to 0 for any that is free"
            ) from error
        self._board.listen(self._tell)
        return f"http://{_shown(host)}:{taken}/"

    def stop(self) -> None:
        """End all streams and give the port back."""
        self._board.listen(lambda: None)
        if self._thread.is_alive():
            with contextlib.suppress(_TIMEOUT):
                asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_START_LIMIT_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _open(self, host: str, port: int) -> int:
        app = web.Application()
        app.router.add_get("/", self._guarded(self._send_page))
        app.router.add_get("/events", self._guarded(self._send_events))
        for name, picture in self._pictures.items():
            app.router.add_get(f"/{name}.jpg", self._guarded(self._sending(picture)))
        app.router.add_get("/worst/{name:[0-9a-f]{16}}.jpg", self._guarded(self._send_worst))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_LIMIT_S)
        await self._runner.setup()
        if _is_loopback(host):
            self._hosts = frozenset({"localhost", "127.0.0.1", "::1", host})
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        self._is_closing = True
        self._wake()
        if self._runner is not None:
            await self._runner.cleanup()

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _guarded(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            # A page of elsewhere whose name was bent to this machine would read what only we may.
            if self._hosts and _name_of(request.host) not in self._hosts:
                raise web.HTTPForbidden(
                    text="this page is for this machine only: open it as localhost, or start it "
                    "with a host that others can reach\n"
                )
            return await handler(request)

        return handle

    async def _send_page(self, _request: web.Request) -> web.Response:
        headers = {**_HEADERS, "Content-Security-Policy": self._page.policy}
        return web.Response(
            body=self._page.html, content_type="text/html", charset="utf-8", headers=headers
        )

    def _sending(self, picture: Picture) -> Handler:
        async def send(_request: web.Request) -> web.Response:
            return self._picture(picture.ask())

        return send

    async def _send_worst(self, request: web.Request) -> web.Response:
        return self._picture(self._worst.picture(request.match_info["name"]))

    def _picture(self, jpeg: bytes) -> web.Response:
        if not jpeg:
            return web.Response(status=204, headers=_HEADERS)
        return web.Response(body=jpeg, content_type="image/jpeg", headers=_HEADERS)

    async def _send_events(self, request: web.Request) -> web.StreamResponse:
        if self._watchers >= _MAX_WATCHERS:
            raise web.HTTPServiceUnavailable(text=f"{_MAX_WATCHERS} pages are open already\n")
        response = web.StreamResponse(headers={**_HEADERS, "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        self._watchers += 1
        try:
            await response.prepare(request)
            await self._stream(response)
        except (asyncio.TimeoutError, ConnectionError):
            # Stalled or gone; what is still unsent is of no use to anybody.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._watchers -= 1
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        seen: dict[str, int] = {}
        greeting = {"page": self._page.digest, "beat_s": _BEAT_S}
        text = f"retry: {_RETRY_MS}\n\n".encode() + _event("hello", to_json(greeting))
        histories = {name: each.points() for name, each in self._histories.items()}
        text += _event("history", to_json(histories))
        while not self._is_closing:
            news = self._news
            changes = self._board.changes(seen)
            seen.update({part.name: part.version for part in changes})
            text += b"".join(_event(part.name, part.data) for part in changes)
            await asyncio.wait_for(response.write(text), self._stall_s)
            text = b""
            await asyncio.sleep(self._period_s)
            try:
                await asyncio.wait_for(news.wait(), _BEAT_S)
            except asyncio.TimeoutError:
                text = _event("beat", b"{}")


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _shown(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host
