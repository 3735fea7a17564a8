"""Between ROS messages and the arrays and records of the core, without copying pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import sensor_msgs.msg
from builtin_interfaces.msg import Time
from deeplab_miou_msgs.msg import Account as AccountMessage
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, StreamAccount

from deeplab_miou.accounting import Account, StreamCounts
from deeplab_miou.aggregation.messages import (
    MAX_CLASSES,
    MAX_NAME,
    MAX_PROVENANCE,
    MAX_REASONS,
    MAX_REGIONS,
    EvaluatorState,
    FrameRecord,
    RefusedError,
    RunSnapshot,
    check_counts,
    check_name,
    depth_from_counts,
    mistakes_from_counts,
    stack_from_counts,
)
from deeplab_miou.images.messages import RawImage
from deeplab_miou.metric.counts import Axes, Counts
from deeplab_miou.recording.frame_bytes import split_stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


_NS = 1_000_000_000
_MAX_CELLS = MAX_CLASSES * (MAX_CLASSES + 1)


def time_to_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds.

    Any two integers have a value: a negative second is before 1970, and surplus nanoseconds
    (1e9 and above, malformed but seen) carry over. Exact, unlike seconds as float.
    """
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def ns_to_time(nanoseconds: int) -> Time:
    """Return nanoseconds as a well-formed stamp; beyond the years 1901 to 2038 the nearest one."""
    seconds, rest = split_stamp(nanoseconds)
    return Time(sec=seconds, nanosec=rest)


def image_to_message(
    pixels: NDArray[np.uint8], encoding: str, stamp_ns: int, frame_id: str
) -> sensor_msgs.msg.Image:
    """Return an image message.

    Args:
        pixels: ``(H, W)`` or ``(H, W, channels)`` uint8, any strides.
        encoding: a name of ``sensor_msgs/image_encodings`` with as many channels.
        stamp_ns: the header's stamp, nanoseconds.
        frame_id: the header's frame.
    """
    pixels = np.ascontiguousarray(pixels)
    message = sensor_msgs.msg.Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=math.prod(pixels.shape[1:]),
    )
    message.header.stamp = ns_to_time(stamp_ns)
    message.header.frame_id = frame_id
    # One memcpy; assigning bytes to the field would copy element by element.
    message.data.frombytes(pixels.data.cast("B") if pixels.size else b"")
    return message


def raw_image(message: sensor_msgs.msg.Image) -> RawImage:
    """Return the image of a message, whose data it holds and does not copy."""
    return RawImage(
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        is_bigendian=bool(message.is_bigendian),
        step=message.step,
        data=message.data,
    )


def stream_account(counts: StreamCounts) -> StreamAccount:
    """Return the account of one stream."""
    return StreamAccount(
        received=counts.received,
        evaluated=counts.evaluated,
        waiting=max(counts.waiting, 0),
        reasons=list(counts.dropped),
        dropped=list(counts.dropped.values()),
    )


def stream_counts(message: StreamAccount) -> StreamCounts:
    """Return the account of one stream from its message.

    Raises:
        RefusedError: there are not as many counts as reasons, or too many, or one is absurd.
    """
    if len(message.reasons) > MAX_REASONS:
        raise RefusedError(
            "malformed",
            f"its account has {len(message.reasons)} reasons, expected at most {MAX_REASONS}",
        )
    for reason in message.reasons:
        check_name("reason", reason)
    if len(message.reasons) != len(message.dropped):
        raise RefusedError(
            "malformed",
            f"its account has {len(message.reasons)} reasons and {len(message.dropped)} counts",
        )
    dropped = dict(zip(message.reasons, message.dropped, strict=True))
    check_counts(
        {
            "messages received": message.received,
            "messages evaluated": message.evaluated,
            "messages waiting": message.waiting,
            **dropped,
        }
    )
    return StreamCounts(message.received, message.evaluated, message.waiting, dropped)


def account_message(
    snapshot: RunSnapshot,
    *,
    source: str,
    paced: bool,
    frame_listeners: int,
    topics: Iterable[str],
    now: Time,
) -> AccountMessage:
    """Return the account of an evaluator."""
    message = AccountMessage(
        source=source,
        run_id=snapshot.run_id,
        reset_count=snapshot.reset_count,
        images=stream_account(snapshot.account.images),
        labels=stream_account(snapshot.account.labels),
        paced=paced,
        frame_listeners=frame_listeners,
        depth_images=snapshot.depth_images,
        topics=list(topics),
    )
    message.header.stamp = now
    return message


def state_to_message(state: EvaluatorState) -> ConfusionMatrix:
    """Return the message of an evaluator's state."""
    run = state.run
    message = ConfusionMatrix(
        source=state.source,
        run_id=run.run_id,
        reset_count=run.reset_count,
        sequence=state.sequence,
        frames=run.counts.frames,
        ignored_pixels=run.counts.ignored,
        unmapped_pixels=run.counts.unmapped,
        frame_sequence=run.frame_sequence,
        images=stream_account(run.account.images),
        labels=stream_account(run.account.labels),
        class_names=list(state.class_names),
        configuration=state.configuration,
        provenance=state.provenance,
        region_names=list(state.region_names),
    )
    message.counts.frombytes(np.ascontiguousarray(run.counts.matrix, np.int64).tobytes())
    message.region_counts.frombytes(np.ascontiguousarray(run.counts.regions, np.int64).tobytes())
    message.mistakes.frombytes(np.ascontiguousarray(run.counts.mistakes, np.int64).tobytes())
    message.depth.frombytes(np.ascontiguousarray(run.counts.depth, np.int64).tobytes())
    message.header.stamp = ns_to_time(run.stamp_ns)
    return message


def state_from_message(message: ConfusionMatrix) -> EvaluatorState:
    """Return the state that a message holds.

    Raises:
        RefusedError: the message is malformed; the text names the source.
    """
    try:
        _check_source(message)
        _check_texts(message)
        check_counts(
            {
                "frames": message.frames,
                "ignored_pixels": message.ignored_pixels,
                "unmapped_pixels": message.unmapped_pixels,
                "frame_sequence": message.frame_sequence,
            }
        )
        axes = Axes(tuple(message.class_names), tuple(message.region_names))
        return EvaluatorState(
            source=message.source,
            sequence=message.sequence,
            run=RunSnapshot(
                run_id=message.run_id,
                reset_count=message.reset_count,
                counts=Counts.of_stack(
                    stack_from_counts(
                        np.frombuffer(message.counts, np.uint64),
                        np.frombuffer(message.region_counts, np.uint64),
                        axes,
                    ),
                    message.frames,
                    message.ignored_pixels,
                    message.unmapped_pixels,
                    mistakes_from_counts(np.frombuffer(message.mistakes, np.uint64), axes),
                    depth=depth_from_counts(np.frombuffer(message.depth, np.uint64)),
                ),
                account=Account(stream_counts(message.images), stream_counts(message.labels)),
                frame_sequence=message.frame_sequence,
                stamp_ns=time_to_ns(message.header.stamp),
            ),
            class_names=axes.classes,
            configuration=message.configuration,
            provenance=message.provenance,
            region_names=axes.regions,
        )
    except RefusedError as error:
        raise RefusedError(
            error.kind, f"ConfusionMatrix of {_shown(message.source)} refused: {error}"
        ) from None


def frame_from_message(message: FrameScore) -> FrameRecord:
    """Return the record that a message holds; its arrays are the message's own.

    Raises:
        RefusedError: its sequence is absurd, or it has more cells than any matrix; the text names
            the source.
    """
    try:
        _check_source(message)
        check_counts({"sequence": message.sequence})
        check_name("outcome", message.outcome)
        check_name("stream", message.stream)
        _check_cells(message)
    except RefusedError as error:
        text = f"frame of {_shown(message.source)} refused: {error}"
        raise RefusedError(error.kind, text) from None
    stamp_ns = time_to_ns(message.header.stamp)
    return FrameRecord(
        source=message.source,
        run_id=message.run_id,
        reset_count=message.reset_count,
        sequence=message.sequence,
        stamp_ns=stamp_ns,
        evaluated=message.outcome == "evaluated",
        cells=np.frombuffer(message.cells, np.uint32),
        counts=np.frombuffer(message.counts, np.uint64),
        reason="" if message.outcome == "evaluated" else message.outcome,
        stream=message.stream,
        offset_ns=time_to_ns(message.label_stamp) - stamp_ns,
        region_cells=np.frombuffer(message.region_cells, np.uint32),
        region_counts=np.frombuffer(message.region_counts, np.uint64),
    )


def _shown(source: str) -> str:
    return repr(source) if len(source) <= MAX_NAME else f"{source[:32]!r}…"


def _check_source(message: ConfusionMatrix | FrameScore) -> None:
    check_name("source", message.source)
    check_name("run_id", message.run_id)


def _check_texts(message: ConfusionMatrix) -> None:
    """Refuse what has no legitimate use: a state is kept, and so is all that it says."""
    check_name("configuration", message.configuration)
    if len(message.class_names) > MAX_CLASSES:
        return  # refused with the matrix
    for name in message.class_names:
        check_name("class name", name)
    for name in message.region_names[: MAX_REGIONS + 1]:
        check_name("region name", name)
    if len(message.provenance) > MAX_PROVENANCE:
        raise RefusedError(
            "malformed",
            f"its provenance has {len(message.provenance)} characters, expected at most "
            f"{MAX_PROVENANCE}",
        )


def _check_cells(message: FrameScore) -> None:
    for what, most, cells in (
        ("cells", _MAX_CELLS, max(len(message.cells), len(message.counts))),
        (
            "cells of regions",
            MAX_REGIONS * _MAX_CELLS,
            max(len(message.region_cells), len(message.region_counts)),
        ),
    ):
        if cells > most:
            raise RefusedError("malformed", f"it has {cells} {what}, expected at most {most}")
