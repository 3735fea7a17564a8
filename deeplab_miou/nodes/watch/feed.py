"""Makes what the page shows from messages."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.nodes.ros.conversions import (
    frame_from_message,
    raw_image,
    state_from_message,
    time_to_ns,
)
from deeplab_miou.nodes.watch.contents import (
    account_content,
    comparison_content,
    confusion_content,
    scores_content,
    status_content,
)
from deeplab_miou.watch.board import Board
from deeplab_miou.watch.history import History, ScorePoint
from deeplab_miou.watch.picture import Picture
from deeplab_miou.watch.worst import WorstMoments

if TYPE_CHECKING:
    from collections.abc import Collection

    from deeplab_miou_msgs.msg import Comparison, ConfusionMatrix, FrameScore, MeanIoU
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import Image

_OVERLAY = "overlay"
_MOST_OVERLAYS = 4
# All nodes report once a second; a busy machine may hold them up.
_SILENT_S = 5.0


class PageFeed:
    """Takes messages and keeps what is shown up to date; callbacks call it one at a time.

    Args:
        nodes: full names of the nodes whose reports are shown, besides the sources.

    Attributes:
        board: what is shown, in parts.
        histories: scores over time, of ``result`` and ``window``.
        pictures: by the names of their topics.
        worst: the worst frames.
        sources: full names of the evaluators that are scored, as the publisher names them.
    """

    def __init__(self, nodes: Collection[str]) -> None:
        self.board = Board()
        self.histories = {"result": History(), "window": History()}
        self.pictures = {name: Picture() for name in (_OVERLAY, "mistakes", "ground_truth")}
        self.worst = WorstMoments()
        self.sources: tuple[str, ...] = ()
        self._nodes = nodes
        # An overlay may come before the outcome of its frame.
        self._newest_overlays: deque[tuple[str, Image]] = deque(maxlen=_MOST_OVERLAYS)
        self._aggregate = Aggregate()
        self._has_news = threading.Event()
        self._class_names: tuple[str, ...] = ()
        self._statuses: dict[str, dict[str, object]] = {}
        self._heard_s: dict[str, float] = {}
        self._silent: set[str] = set()
        # Setting the clock, as when a robot finds its time server, must not break the curve.
        self._epoch_s = time.time() - time.monotonic()

    def take_result(self, message: MeanIoU) -> None:
        """Take scores of all frames."""
        now_s = self._now_s()
        content, account = scores_content(message, now_s), account_content(message)
        values = [
            message.miou,
            message.miou_lower,
            message.miou_upper,
            message.miou_anytime_lower,
            message.miou_anytime_upper,
        ]
        self.histories["result"].add(ScorePoint(now_s, message.frames, tuple(values)))
        self.sources = tuple(message.sources)
        self.board.put("result", content)
        self.board.put("account", account)

    def take_window(self, message: MeanIoU) -> None:
        """Take scores of the window."""
        now_s = self._now_s()
        content = scores_content(message, now_s)
        self.histories["window"].add(ScorePoint(now_s, message.frames, (message.miou,)))
        self.board.put("window", content)

    def take_state(self, message: ConfusionMatrix) -> None:
        """Take an evaluator's counts."""
        self._aggregate.add_state(state_from_message(message), time.monotonic())
        self._has_news.set()

    def take_diagnostics(self, message: DiagnosticArray) -> None:
        """Take what nodes report."""
        shown = {*self._nodes, *self.sources}
        for status in message.status:
            node, _, part = status.name.partition(": ")
            if node in shown and part:
                # Two of a node at most, so that there are never more than twice as many as nodes.
                key = status.name if part == "criteria" else node
                self._statuses[key] = status_content(status, time.time())
                self._heard_s[key] = time.monotonic()
                self._has_news.set()

    def take_frame(self, message: FrameScore) -> None:
        """Take the outcome of a frame."""
        frame = frame_from_message(message)
        if not frame.evaluated or not (names := self._names_of_classes()):
            return
        run = (frame.run_id, frame.reset_count)
        self.worst.add(frame.matrix(len(names)), frame.stamp_ns, frame.source, run)
        self._has_news.set()
        for source, overlay in list(self._newest_overlays):
            self._keep_if_worst(source, overlay)

    def take_picture(self, name: str, source: str, message: Image) -> None:
        """Take a picture.

        Args:
            name: of its topic.
            source: the evaluator that it is from.
            message: the picture.
        """
        if name == _OVERLAY:
            self._newest_overlays.append((source, message))
            self._keep_if_worst(source, message)
        picture = self.pictures[name]
        if picture.is_due:
            picture.show(decode_color(raw_image(message)))

    def take_comparison(self, message: Comparison) -> None:
        """Take how two evaluators differ."""
        self.board.put("comparison", comparison_content(message))

    def refresh(self) -> None:
        """Show what has come since the last time; call it now and then."""
        self._note_silence()
        if not self._has_news.is_set():
            return
        self._has_news.clear()
        totals = self._aggregate.totals(time.monotonic())
        self._class_names = totals.class_names
        if totals.class_names:
            self.board.put("confusion", confusion_content(totals))
            self.board.put("worst", self.worst.content(totals.class_names))
        statuses = [
            {**status, "is_silent": key in self._silent}
            for key, status in list(self._statuses.items())
        ]
        self.board.put("nodes", statuses)

    def _now_s(self) -> float:
        return self._epoch_s + time.monotonic()

    def _names_of_classes(self) -> tuple[str, ...]:
        if not self._class_names:
            self._class_names = self._aggregate.totals(time.monotonic()).class_names
        return self._class_names

    def _keep_if_worst(self, source: str, message: Image) -> None:
        stamp_ns = time_to_ns(message.header.stamp)
        if self.worst.wants_picture(source, stamp_ns):
            self.worst.show(source, stamp_ns, decode_color(raw_image(message)))
            self._has_news.set()

    def _note_silence(self) -> None:
        """Notice who has stopped reporting, and who has begun again."""
        now_s = time.monotonic()
        heard = list(self._heard_s.items())
        silent = {key for key, heard_s in heard if now_s - heard_s > _SILENT_S}
        if silent != self._silent:
            self._silent = silent
            self._has_news.set()
