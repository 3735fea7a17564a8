"""Takes messages that name the ids of labels and predictions, and informs the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.labels.messages import read_label_names
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.pipeline import Pipeline
    from deeplab_miou.labels.legend import Legend

_DOUBTS_PERIOD_S = 60.0


class LabelInfoListener:
    """Takes messages that name ids; the thread that receives calls all but `tick`.

    Args:
        legends: learn the names.
        pipeline: scores pairs that have waited for them.
        log: writes a warning.
    """

    def __init__(self, legends: Legends, pipeline: Pipeline, log: Callable[[str], None]) -> None:
        self._legends = legends
        self._pipeline = pipeline
        self._log = log
        self._throttle = Throttle(_DOUBTS_PERIOD_S)
        self._newest_ns = dict.fromkeys(Stream, 0)

    def topics(self) -> dict[str, tuple[str, Stream]]:
        """Return what to hear: the parameter that gives the topic, and the stream it is about."""
        found = {}
        if self._legends.labels is not None:
            found["label info"] = ("label_info_topic", Stream.LABEL)
        if self._legends.predictions is not None:
            found["prediction label info"] = ("prediction_label_info_topic", Stream.IMAGE)
        return found

    def arrived(self, stream: Stream, stamp_ns: int) -> None:
        """Note the stamp of an image or a label that arrived."""
        self._newest_ns[stream] = stamp_ns

    def receiver(self, stream: Stream) -> Callable[[str, memoryview | bytes], None]:
        """Return what takes the messages about a stream."""
        both = {Stream.LABEL: self._legends.labels, Stream.IMAGE: self._legends.predictions}
        legend = both[stream]
        assert legend is not None  # noqa: S101  (of `topics`)

        def receive(kind: str, data: memoryview | bytes) -> None:
            self._take(legend, kind, data, self._newest_ns[stream])

        return receive

    def tick(self) -> str:
        """Let nothing wait too long; call it now and then. Returns what is doubtful."""
        self._pipeline.release_named()
        doubts = "; ".join(self._legends.doubts)
        if doubts and self._throttle.admit("") is not None:
            self._log(doubts)
        return doubts

    def _take(self, legend: Legend, kind: str, data: memoryview | bytes, after_ns: int) -> None:
        try:
            legend.add(read_label_names(data, kind), after_ns)
        except ValueError as error:
            legend.refuse(str(error))
        self._pipeline.release_named()
