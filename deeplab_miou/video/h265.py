"""Headers of H.265: ITU-T H.265, clause 7.3."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import NamedTuple

from deeplab_miou.video.bits import Bits
from deeplab_miou.video.nal_units import nal_units, payload
from deeplab_miou.video.packet_info import PacketInfo

_FIRST_IRAP, _LAST_IRAP = 16, 21
_LAST_SLICE = 31
_LEADING = (8, 9)  # RASL: skipped, because they refer to what came before the key frame
_ALL_LEADING = (6, 7, 8, 9)  # these follow their key frame at once
_IDR = (19, 20)
_LAST_RESERVED = 23  # whose slices begin as those of key frames do
_SPS, _PPS = 33, 34
_SEPARATE_PLANES = 3
_SLICE_BYTES = 32
_MOST_PARAMETER_SETS = 64
_RECENT = 32


class _Sequence(NamedTuple):
    """What a sequence parameter set says of places in the order of pictures."""

    order_bits: int
    has_planes: bool


class _Picture(NamedTuple):
    """What a picture parameter set says of the beginnings of slices."""

    sequence: int
    has_output: bool
    extra_bits: int


class H265:
    """Reads the headers of H.265, see `deeplab_miou.video.packet_info.Headers`.

    Its pictures name those that they refer to by their places, so the decoder notices what is
    missing, unless places began anew at a lost key frame and those before it have the same. That
    shows as a place that was taken a short time ago.
    """

    def __init__(self) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, _Picture] = {}
        self._orders: deque[int] = deque(maxlen=_RECENT)
        self._may_lead = False

    def read(self, data: bytes) -> PacketInfo:
        """Return what the headers of a packet contain.

        Raises:
            FrameError: bad_encoding.
            ValueError: a header is damaged.
        """
        kinds: list[int] = []
        pictures = 0
        size = None
        lacks_key = False
        for unit in nal_units(data, "h265"):
            kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1:2].ljust(1, b"\0")[0] >> 3
            if layer:
                continue
            if kind == _SPS:
                size = self._read_sequence(payload(unit, 2))
            elif kind == _PPS:
                with suppress(ValueError):
                    self._read_picture(payload(unit, 2))
            elif kind <= _LAST_SLICE:
                kinds.append(kind)
                begins = bool(unit[2:3].ljust(1, b"\0")[0] & 128)
                pictures += begins
                lacks_key |= begins and self._lacks_key(kind, payload(unit[:_SLICE_BYTES], 2))
        return PacketInfo(
            pictures=max(pictures, 1) if kinds else 0,
            parts=len(kinds),
            is_key=bool(kinds) and _FIRST_IRAP <= kinds[0] <= _LAST_IRAP,
            has_parameters=size is not None,
            is_leading=bool(kinds) and kinds[0] in _LEADING,
            size=size,
            lacks_key=lacks_key,
            reorders=True,
        )

    def _read_sequence(self, data: bytes) -> tuple[int, int]:
        """Return the size that it declares; what else it says is of use only if it is whole."""
        bits = Bits(data)
        _skip_profile(bits)
        place = bits.golomb()
        has_planes = bits.golomb() == _SEPARATE_PLANES and bits.flag()
        width = bits.golomb()
        height = bits.golomb()
        self._sequences.pop(place, None)
        with suppress(ValueError):
            for _ in range(4 * bits.flag() + 2):
                bits.golomb()
            order_bits = bits.golomb() + 4
            if place < _MOST_PARAMETER_SETS and order_bits <= 16:  # noqa: PLR2004  (the most)
                self._sequences[place] = _Sequence(order_bits, has_planes)
        return height, width

    def _read_picture(self, data: bytes) -> None:
        bits = Bits(data)
        place, sequence = bits.golomb(), bits.golomb()
        bits.flag()
        if place < _MOST_PARAMETER_SETS:
            self._pictures[place] = _Picture(sequence, bits.flag(), bits.take(3))

    def _lacks_key(self, kind: int, data: bytes) -> bool:
        """Note kind and place of a picture, and return whether its key frame did not come."""
        is_key = _FIRST_IRAP <= kind <= _LAST_RESERVED
        is_leading = kind in _ALL_LEADING
        if is_key:
            self._orders.clear()
        may_lead, self._may_lead = self._may_lead, is_key or (is_leading and self._may_lead)
        if is_leading and not may_lead:
            return True
        with suppress(ValueError):
            return self._is_taken(kind, Bits(data))
        return False

    def _is_taken(self, kind: int, bits: Bits) -> bool:
        bits.take(2 if _FIRST_IRAP <= kind <= _LAST_RESERVED else 1)
        picture = self._pictures.get(bits.golomb())
        sequence = self._sequences.get(picture.sequence) if picture else None
        if picture is None or sequence is None:
            return False
        bits.take(picture.extra_bits)
        bits.golomb()
        bits.take(picture.has_output + 2 * sequence.has_planes)
        order = 0 if kind in _IDR else bits.take(sequence.order_bits)
        # Places are told by their lowest bits, which come again after a while.
        recent = list(self._orders)[-(1 << sequence.order_bits) // 4 :]
        self._orders.append(order)
        return order in recent


def _skip_profile(bits: Bits) -> None:
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)
