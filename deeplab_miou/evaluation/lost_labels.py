"""Which labels found no image on a live stream, and what their stamps suggest."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

import numpy as np

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.unpaired import distances, find_lost

# Stamps remembered for each stream: minutes of a camera, and a millisecond's work to look at.
REMEMBERED = 5_000
# Images this far past a label mean that its own will not come any more.
_PATIENCE_NS = 1_000_000_000


class LostLabels:
    """Remembers the stamps that arrived lately and which labels found an image; thread-safe.

    Args:
        tolerance_ns: greatest difference of the two stamps of a pair.
    """

    def __init__(self, tolerance_ns: int = 0) -> None:
        self._tolerance_ns = tolerance_ns
        self._lock = threading.Lock()
        self._stamps: dict[Stream, deque[int]] = {s: deque(maxlen=REMEMBERED) for s in Stream}
        # Labels that have not found an image, and whether they were given up.
        self._alone: OrderedDict[int, bool] = OrderedDict()
        # Images that were given up without a label.
        self._images_given_up: deque[int] = deque(maxlen=REMEMBERED)

    def arrived(self, stream: Stream, stamp_ns: int) -> None:
        """Note a message that arrived."""
        with self._lock:
            self._stamps[stream].append(stamp_ns)
            if stream is Stream.LABEL:
                self._note(stamp_ns, given_up=False)

    def ended(self, label_ns: int, reason: Reason | None) -> None:
        """Note what became of a label; no reason means that it was evaluated."""
        with self._lock:
            if reason is Reason.UNMATCHED_LABEL:
                self._note(label_ns, given_up=True)
            elif reason is not Reason.DUPLICATE_STAMP:  # the other of its stamp goes on
                self._alone.pop(label_ns, None)

    def image_given_up(self, image_ns: int) -> None:
        """Note that an image was given up because no label came while it was held."""
        with self._lock:
            self._images_given_up.append(image_ns)

    def reset(self) -> None:
        """Forget everything, as if just made."""
        with self._lock:
            for stamps in self._stamps.values():
                stamps.clear()
            self._alone.clear()
            self._images_given_up.clear()

    def findings(self) -> list[str]:
        """Return what labels without an image suggest, a line each."""
        with self._lock:
            images_ns, labels_ns = (np.array(self._stamps[s], np.int64) for s in Stream)
            alone_ns = np.fromiter(self._alone, np.int64, len(self._alone))
            given_up = np.fromiter(self._alone.values(), np.bool_, len(self._alone))
            images_given_up_ns = np.unique(np.array(self._images_given_up, np.int64))
        late = 0
        if images_given_up_ns.size and alone_ns.size:
            apart = distances(images_given_up_ns, alone_ns)
            late = int(np.count_nonzero(given_up & (apart <= self._tolerance_ns)))
        if images_ns.size and alone_ns.size:
            # A label with an image near enough is paired and waits for its turn, or the two were
            # not held at the same time: its stamp is not what is wrong.
            is_far = distances(np.unique(images_ns), alone_ns) > self._tolerance_ns
            is_passed = given_up | (images_ns.max() - alone_ns > _PATIENCE_NS)
            # What lies before the images that are still remembered cannot be judged any more.
            is_known = alone_ns >= images_ns.min() if images_ns.size == REMEMBERED else True
            alone_ns = alone_ns[is_far & is_passed & is_known]
        else:
            # Before the first image there is nothing to compare with.
            alone_ns = alone_ns[:0]
        lines = find_lost(images_ns, labels_ns, alone_ns, "sync_tolerance")
        if late:
            lines.append(
                f"{late} of {labels_ns.size} labels and their images were not held at the same "
                "time, because they arrive too far apart: raise hold_frames or hold_mebibytes, or "
                "record them and use deeplab-miou evaluate, which has no such limit"
            )
        return lines

    def _note(self, stamp_ns: int, *, given_up: bool) -> None:
        self._alone.pop(stamp_ns, None)
        self._alone[stamp_ns] = given_up
        if len(self._alone) > REMEMBERED:
            self._alone.popitem(last=False)
