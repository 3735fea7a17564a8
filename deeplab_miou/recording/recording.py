"""A rosbag2 of scores that never becomes large, and whose failure costs nothing but itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.paths import user_path
from deeplab_miou.recording.messages import (
    COMPRESSED_IMAGE,
    FRAME_SCORE,
    MEAN_IOU,
    encode_jpeg,
    encode_result,
    typestore,
)
from deeplab_miou.report.files import check_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.aggregation.results import Result

# Of each kind; then every other message is written, then every fourth, and so on.
MOST_SCORES = 2_000
MOST_FRAMES = 50_000
MOST_OVERLAYS = 2_000
# Of one kind, before compression: with regions and many classes, messages are large.
MOST_BYTES = 2**27
_BYTES_OF_A_CLASS = 200
_LATEST_NS = 2**63 - 1
# As the nodes offer them: whoever asks for the latched score gets it from a player, too.
_LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    QosTime(0, 0),
    QosTime(0, 0),
    QosLiveliness.SYSTEM_DEFAULT,
    QosTime(0, 0),
    avoid_ros_namespace_conventions=False,
)


class Thinning:
    """Lets through every message of a stream at first, then every other one, every fourth, ...

    The number let through grows with the logarithm of the stream's length only.

    Args:
        most: how many to let through before the step doubles.
        expected: how many will come; 0 if unknown. The step begins with what fits.
        most_bytes: how many of them to let through before the step doubles.
    """

    def __init__(self, most: int, expected: int = 0, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._step = max(-(-expected // most), 1)
        self._seen = 0
        self._passed = 0
        self._bytes = 0

    @property
    def is_due(self) -> bool:
        """Whether the next message is let through."""
        return self._seen % self._step == 0

    def take(self, size: int) -> bool:
        """Return whether a message is let through.

        Args:
            size: about how many bytes it has; read only if it is due.
        """
        is_due = self.is_due
        self._seen += 1
        if is_due:
            self._passed += 1
            self._bytes += size
        if self._passed >= self._most or self._bytes >= self._most_bytes:
            self._passed, self._bytes, self._step = 0, 0, 2 * self._step
        return is_due


def scores_size(*results: Result) -> int:
    """Return about how many bytes messages of results have: nearly all are those of classes."""
    return sum(
        _BYTES_OF_A_CLASS
        * len(result.totals.class_names)
        * (1 + len(result.regions) + len(result.slices))
        for result in results
    )


class Recording:
    """Writes scores into a new rosbag2; not thread-safe.

    The bag is made with the first message. What cannot be written ends the recording and not what
    is recorded: `problem` says so.

    Args:
        folder: the bag's folder, which does not exist yet.
        publisher: name of the node that publishes the scores.
        on_problem: called with one line when the recording ends early.

    Attributes:
        folder: as given.
        problem: why the recording ended early; empty if it did not.

    Raises:
        ConfigurationError: the folder exists, or nothing can be written next to it.
    """

    def __init__(
        self,
        folder: str,
        publisher: str = "/miou_publisher",
        on_problem: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = user_path(folder)
        self.problem = ""
        self._publisher = publisher
        self._on_problem = on_problem
        self._writer: BagWriter | None = None
        self._is_closed = False
        if self.folder.exists() or self.folder.is_symlink():
            raise ConfigurationError(
                f"recording {folder!r} already exists: name a new folder, or remove this one"
            )
        check_directory(str(self.folder.parent))
        typestore()

    def result(self, result: Result) -> None:
        """Write the scores of all frames."""
        self._scores("result", result)

    def window(self, result: Result) -> None:
        """Write the scores of the window."""
        self._scores("window", result)

    def frame(self, source: str, stamp_ns: int, data: bytes) -> None:
        """Write the outcome of a frame.

        Args:
            source: which evaluator's.
            stamp_ns: of its image.
            data: a serialised ``FrameScore``.
        """
        self._write(f"{source}/frame", FRAME_SCORE, stamp_ns, data)

    def overlay(self, source: str, stamp_ns: int, frame_id: str, jpeg: bytes) -> None:
        """Write a picture; ``source`` and ``stamp_ns`` as of `frame`."""
        data = encode_jpeg(jpeg, stamp_ns, frame_id)
        self._write(f"{source}/overlay", COMPRESSED_IMAGE, stamp_ns, data)

    def close(self) -> None:
        """Write the index, so that the bag can be opened; may be called again."""
        self._is_closed = True
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.__exit__(None, None, None)
        except (BagError, OSError) as error:
            self._fail(error)

    def _scores(self, name: str, result: Result) -> None:
        topic = f"{self._publisher}/{name}"
        self._write(topic, MEAN_IOU, result.totals.stamp_ns, encode_result(result))

    def _write(self, topic: str, type_name: str, stamp_ns: int, data: bytes) -> None:
        if self._is_closed or self.problem:
            return
        try:
            if self._writer is None:
                self._writer = self._open()
            # A bag's times are not negative.
            time_ns = min(max(stamp_ns, 0), _LATEST_NS)
            self._writer.write(topic, type_name, time_ns, data)
        except (BagError, OSError) as error:
            self._fail(error)

    def _open(self) -> BagWriter:
        writer = BagWriter(self.folder, compression="chunk", typestore=typestore())
        writer.__enter__()
        for name in ("result", "window"):
            writer.add_topic(f"{self._publisher}/{name}", MEAN_IOU, (_LATCHED,))
        return writer

    def _fail(self, error: Exception) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()
        self.problem = f"the recording {str(self.folder)!r} ended early: {error}"
        self._on_problem(self.problem)
