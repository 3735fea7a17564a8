"""Foxglove's WebSocket server, by ``foxglove-sdk``: channels, and who watches them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

# Messages that wait for one viewer; then the oldest is dropped: of scores the newest
# counts. Each has at most a mebibyte, so that a viewer that stalls costs no more than all these.
_BACKLOG = 128
MAX_BYTES = 2**20


class Watcher(NamedTuple):
    """A viewer that has subscribed to a channel.

    Attributes:
        channel: number of the channel.
        client: number of the viewer, which `ServedTopic.send` takes.
    """

    channel: int
    client: int


class Watchers:
    """Who watches what; the server's threads write it, the node reads it."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._newcomers: set[Watcher] = set()

    def read(self) -> tuple[frozenset[Watcher], frozenset[Watcher]]:
        """Return who watches now, and those of them who have subscribed since the last call.

        Also a viewer that has unsubscribed and subscribed again meanwhile is new.
        """
        with self._lock:
            watchers, newcomers = frozenset(self._watchers), frozenset(self._newcomers)
            self._newcomers.clear()
            return watchers, newcomers & watchers

    # What foxglove-sdk calls.

    def on_subscribe(self, client: Any, channel: Any) -> None:  # noqa: ANN401
        """Note a watcher."""
        with self._lock:
            watcher = Watcher(channel.id, client.id)
            self._watchers.add(watcher)
            self._newcomers.add(watcher)
        self._on_change()

    def on_unsubscribe(self, client: Any, channel: Any) -> None:  # noqa: ANN401
        """Note that one has gone; also called when it disconnects."""
        with self._lock:
            self._watchers.discard(Watcher(channel.id, client.id))
        self._on_change()


class ServedTopic:
    """One topic as viewers see it."""

    def __init__(self, channel: Any) -> None:  # noqa: ANN401
        self._channel = channel
        self.number: int = channel.id()

    def send(self, message: bytes, time_ns: int, *, client: int | None = None) -> None:
        """Hand a message to all who watch, without waiting for any of them.

        Args:
            message: in CDR.
            time_ns: when it came, nanoseconds since 1970.
            client: the only viewer to get it.
        """
        self._channel.log(message, log_time=time_ns, sink_id=client)

    def close(self) -> None:
        """Take it from the viewers' lists."""
        self._channel.close()


class FoxgloveServer:
    """The server; viewers can look at topics and do nothing else.

    Args:
        on_change: called, in a thread of the server, when somebody begins or ends to watch.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.watchers = Watchers(on_change)
        self._foxglove: Any = None
        self._context: Any = None
        self._server: Any = None

    def start(self, host: str, port: int) -> str:
        """Begin to serve.

        Args:
            host: address or name to listen on.
            port: to listen on; 0 for any that is free.

        Returns:
            The address to enter in Foxglove.

        Raises:
            ConfigurationError: foxglove-sdk is not installed, or one cannot listen there.
        """
        try:
            import foxglove  # noqa: PLC0415  optional
        except ImportError as error:
            raise ConfigurationError(
                f"serving Foxglove needs foxglove-sdk ({error}): "
                "`pip install -r requirements-foxglove.txt`, or start foxglove_bridge instead"
            ) from error
        self._foxglove = foxglove
        self._context = foxglove.Context()
        try:
            self._server = foxglove.start_server(
                name="deeplab_miou",
                host=host,
                port=port,
                server_listener=self.watchers,
                context=self._context,
                message_backlog_size=_BACKLOG,
            )
        except (OSError, OverflowError, RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"cannot serve Foxglove on {host!r}, port {port}: {error}; set host to an address "
                "of this machine, port to another one, or to 0 for any that is free"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        return f"ws://{shown}:{self._server.port}"

    def add(self, topic: str, type_name: str, definition: str) -> ServedTopic:
        """Offer a topic.

        Args:
            topic: full name.
            type_name: such as ``std_msgs/msg/Header``.
            definition: text of the message definition, those that it needs included.
        """
        schema = self._foxglove.Schema(
            name=type_name, encoding="ros2msg", data=definition.encode(errors="replace")
        )
        return ServedTopic(
            self._foxglove.Channel(
                topic, message_encoding="cdr", schema=schema, context=self._context
            )
        )

    def stop(self) -> None:
        """Disconnect all viewers and give the port back."""
        if self._server is not None:
            self._server.stop()
            self._server = None
