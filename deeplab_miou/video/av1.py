"""Headers of AV1: its bitstream specification, section 5, in the low-overhead format."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.video.bits import Bits
from deeplab_miou.video.packet_info import PacketInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY, _INTRA, _SWITCH = 0, 2, 3
_EITHER = 2
_HEADER_BYTES = 128
_LONGEST_SIZE = 8
# Of which one is shown; encoders put as many into a packet as there are levels of a hierarchy.
_MOST_FRAMES = 32
_SLOTS = 8
_ALL_SLOTS = (1 << _SLOTS) - 1


class _Sequence(NamedTuple):
    """What the sequence header says."""

    size: tuple[int, int]
    is_still: bool
    has_model: bool
    time_bits: int
    id_bits: int
    screen_content: int
    integer_motion: int
    order_bits: int


class _Frame(NamedTuple):
    """A decoded frame.

    Attributes:
        order: its place among those shown; None if not given.
        is_key: it is a key frame.
    """

    order: int | None
    is_key: bool = False


_UNKNOWN = _Frame(None)


class Av1:
    """Reads the headers of AV1, see `deeplab_miou.video.packet_info.Headers`.

    Frames may be decoded early and shown by a later packet that only names the slot where they are
    kept; what is in the slots shows whether that is the frame which was meant.
    """

    def __init__(self) -> None:
        self._sequence: _Sequence | None = None
        self._kept = [_UNKNOWN] * _SLOTS

    def read(self, data: bytes) -> PacketInfo:
        """Return what the headers of a packet contain: of the frame that is shown, the last one.

        Raises:
            ValueError: a header is damaged.
        """
        has_sequence = is_key = False
        frames = 0
        number = None
        for kind, content in _units(data):
            if kind == _SEQUENCE:
                self._sequence = _read_sequence(Bits(content))
                has_sequence = True
            elif kind in (_FRAME_HEADER, _FRAME):
                frames += 1
                number = self._read_frame(content)
                # Reserved bits aside: not shown again, a key frame, shown.
                is_key |= content[:1] != b"" and content[0] >> 4 == 1
        if frames > _MOST_FRAMES:
            raise ValueError(f"{frames} frames, expected at most {_MOST_FRAMES}")
        sequence = self._sequence
        if sequence is not None and sequence.is_still:
            is_key = frames > 0
        return PacketInfo(
            pictures=min(frames, 1),
            parts=frames,
            is_key=is_key,
            has_parameters=has_sequence,
            size=None if sequence is None else sequence.size,
            number=number,
            modulus=0 if sequence is None else 1 << sequence.order_bits,
        )

    def _read_frame(self, data: bytes) -> int | None:
        """Return the place of a frame among those shown, and note where it is kept."""
        sequence = self._sequence
        if sequence is None or sequence.is_still or not sequence.order_bits:
            return None
        bits = Bits(data)
        if bits.flag():
            frame = self._kept[bits.take(3)]
            slots = _ALL_SLOTS if frame.is_key else 0
        else:
            frame, slots = _read_frame(bits, sequence)
        # With a model, fields that depend on layers come before those of the slots.
        kept = _UNKNOWN if sequence.has_model else frame
        self._kept = [kept if slots >> k & 1 else each for k, each in enumerate(self._kept)]
        return frame.order


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and beginning of each unit (OBU).

    Raises:
        ValueError: they do not follow one another.
    """
    place = 0
    while place < len(data):
        header = data[place]
        place += 2 if header & 4 else 1
        if header & 128 or not header & 2:
            raise ValueError("it is not AV1 in the low-overhead format (section 5.2)")
        size, place = _read_size(data, place)
        if place + size > len(data):
            raise ValueError(f"a unit of {size} bytes, {len(data) - place} are left")
        yield header >> 3 & 15, data[place : place + min(size, _HEADER_BYTES)]
        place += size


def _read_size(data: bytes, place: int) -> tuple[int, int]:
    size = 0
    for k in range(_LONGEST_SIZE):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        size |= (byte & 127) << 7 * k
        if not byte & 128:
            return size, place
    raise ValueError("a unit has no size")


def _read_sequence(bits: Bits) -> _Sequence:
    bits.take(4)
    is_still = bits.flag()
    has_model, time_bits = False, 0
    if is_still:
        bits.take(5)
    else:
        has_model, time_bits = _skip_timing(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width = bits.take(width_bits) + 1
    size = (bits.take(height_bits) + 1, width)
    if is_still:
        return _Sequence(size, is_still, False, 0, 0, 0, 0, 0)  # noqa: FBT003
    id_bits = 0
    if bits.flag():
        id_bits = bits.take(4) + 2
        id_bits += bits.take(3) + 1
    bits.take(3)
    bits.take(4)
    has_order = bits.flag()
    bits.take(2 * has_order)
    screen_content = _EITHER if bits.flag() else bits.take(1)
    integer_motion = _EITHER
    if screen_content and not bits.flag():
        integer_motion = bits.take(1)
    order_bits = bits.take(3) + 1 if has_order else 0
    return _Sequence(
        size, is_still, has_model, time_bits, id_bits, screen_content, integer_motion, order_bits
    )


def _skip_timing(bits: Bits) -> tuple[bool, int]:
    """Return whether a decoder's buffer is described, and how many bits say when to show frames."""
    delay_bits = time_bits = 0
    has_model = False
    if bits.flag():
        bits.take(64)
        is_even = bits.flag()
        if is_even:
            bits.golomb()
        has_model = bits.flag()
        if has_model:
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5)
            time_bits = bits.take(5) + 1
            time_bits = 0 if is_even else time_bits
    has_delay = bits.flag()
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # noqa: PLR2004  (levels that have tiers)
            bits.take(1)
        if has_model and bits.flag():
            bits.take(2 * delay_bits + 1)
        if has_delay and bits.flag():
            bits.take(4)
    return has_model, time_bits


def _read_frame(bits: Bits, sequence: _Sequence) -> tuple[_Frame, int]:
    """Return a new frame, and the slots in which it may be kept, a bit for each."""
    kind = bits.take(2)
    is_shown = bits.flag()
    bits.take(sequence.time_bits if is_shown else 1)
    refreshes_all = kind == _SWITCH or (kind == _KEY and is_shown)
    is_resilient = refreshes_all or bits.flag()
    bits.flag()
    screen_content = sequence.screen_content
    if screen_content == _EITHER:
        screen_content = bits.take(1)
    if screen_content and sequence.integer_motion == _EITHER:
        bits.flag()
    bits.take(sequence.id_bits)
    if kind != _SWITCH:
        bits.flag()
    frame = _Frame(bits.take(sequence.order_bits), kind == _KEY)
    if refreshes_all or sequence.has_model:
        return frame, _ALL_SLOTS
    if not is_resilient and kind not in (_KEY, _INTRA):
        bits.take(3)
    return frame, bits.take(_SLOTS)
