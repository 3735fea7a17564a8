"""``FrameScore`` in CDR: written at once, in a quarter of the time of making and serialising it."""

from __future__ import annotations

import functools
import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.confusion import to_cells
from deeplab_miou.metric.scores import frame_miou

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.outcomes import FrameOutcome

_LITTLE_ENDIAN = b"\0\1\0\0"
_STAMP = struct.Struct("<iI")
_LITTLE_UINT32, _LITTLE_UINT64 = np.dtype("<u4"), np.dtype("<u8")
_UINT32 = struct.Struct("<I")
_UINT64 = struct.Struct("<Q")
_FLOAT64 = struct.Struct("<d")
_SIZE = struct.Struct("<2I")
_PIXELS = struct.Struct("<4Q")
_SECONDS = struct.Struct("<5f")
_NS = 1_000_000_000
_MAX_NS = (2**31 - 1) * _NS + _NS - 1
_MIN_NS = -(2**31) * _NS
_PADDING = tuple(bytes(n) for n in range(8))
_NO_CELLS = to_cells(np.zeros(0, np.int64))


def split_stamp(nanoseconds: int) -> tuple[int, int]:
    """Return seconds and nanoseconds of a stamp; beyond the years 1901 to 2038 the nearest one."""
    return divmod(min(max(nanoseconds, _MIN_NS), _MAX_NS), _NS)


def encode_frame(outcome: FrameOutcome, *, source: str, run_id: str) -> bytes:
    """Return the outcome of one frame as a serialised ``deeplab_miou_msgs/msg/FrameScore``.

    Args:
        outcome: of an image, a label or both.
        source: fully qualified name of the evaluator.
        run_id: of its process.
    """
    leading = outcome.image or outcome.label
    label = outcome.label or leading
    if leading is None or label is None:
        raise ValueError("an outcome must have an image or a label")
    stream = "pair" if outcome.image and outcome.label else "image" if outcome.image else "label"
    miou = math.nan
    height = width = labelled = ignored = unmapped = invalid = 0
    cells = regions = _NO_CELLS
    if outcome.ground_truth is not None:
        height, width = outcome.ground_truth.shape
    if outcome.counts is not None:
        matrix, ignored, unmapped = (
            outcome.counts.matrix,
            outcome.counts.ignored,
            outcome.counts.unmapped,
        )
        cells = to_cells(matrix)
        if outcome.counts.regions.size:
            regions = to_cells(outcome.counts.regions)
        labelled, invalid = int(cells[1].sum()), int(matrix[:, -1].sum())
        miou = frame_miou(matrix)
    out = bytearray()
    out += _STAMP.pack(*split_stamp(leading.stamp_ns))
    _text(out, leading.frame_id)
    _pad(out, 4)
    out += _STAMP.pack(*split_stamp(label.stamp_ns))
    _text(out, source)
    _text(out, run_id)
    _pad(out, 4)
    out += _UINT32.pack(outcome.position.reset_count)
    _pad(out, 8)
    out += _UINT64.pack(outcome.position.sequence)
    _text(out, stream)
    _text(out, "evaluated" if outcome.reason is None else outcome.reason.value)
    _text(out, outcome.explanation)
    _pad(out, 4)
    out += _SIZE.pack(height, width)
    _pad(out, 8)
    out += _PIXELS.pack(labelled, ignored, unmapped, invalid)
    _cells(out, *cells)
    timing = outcome.timing
    out += _SECONDS.pack(
        timing.queue_s, timing.decode_s, timing.inference_s, timing.counting_s, timing.latency_s
    )
    _cells(out, *regions)
    _pad(out, 8)
    out += _FLOAT64.pack(miou)
    return _LITTLE_ENDIAN + bytes(out)


def _cells(out: bytearray, cells: NDArray[np.uint32], counts: NDArray[np.uint64]) -> None:
    size = _UINT32.pack(len(cells))
    out += size
    out += cells.astype(_LITTLE_UINT32, copy=False).tobytes()
    out += size
    if len(counts):
        _pad(out, 8)
        out += counts.astype(_LITTLE_UINT64, copy=False).tobytes()


def _pad(out: bytearray, alignment: int) -> None:
    # Of the bytes after the encapsulation, which are all that `out` holds.
    out += _PADDING[-len(out) % alignment]


def _text(out: bytearray, text: str) -> None:
    _pad(out, 4)
    out += _encoded(text)


@functools.lru_cache(maxsize=64)  # names of nodes, frames and reasons
def _encoded(text: str) -> bytes:
    data = text.encode(errors="replace")
    return _UINT32.pack(len(data) + 1) + data + b"\0"
