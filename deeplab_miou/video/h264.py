"""Headers of H.264: ITU-T H.264, clause 7.3."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from deeplab_miou.video.bits import Bits
from deeplab_miou.video.nal_units import nal_units, payload
from deeplab_miou.video.packet_info import PacketInfo

_SLICE, _IDR, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_SLICE_BYTES = 32
_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
_SEPARATE_PLANES = 3
_IN_ORDER = 2
_RECOVERY_POINT = 6
_B = 1
_MOST_PARAMETER_SETS = 256
_MACROBLOCK = 16

_Kept = TypeVar("_Kept")


class _Parameters(NamedTuple):
    """Of a sequence parameter set."""

    size: tuple[int, int]
    number_bits: int
    has_gaps: bool
    has_planes: bool
    reorders: bool


class _Slice(NamedTuple):
    """Of a slice header."""

    begins: bool
    is_b: bool
    parameters: _Parameters | None
    number: int | None


class H264:
    """Reads the headers of H.264, see `deeplab_miou.video.packet_info.Headers`."""

    def __init__(self) -> None:
        self._sequences: dict[int, _Parameters] = {}
        self._pictures: dict[int, int] = {}
        # The key frame may be followed by pictures that are shown before it.
        self._may_lead = False

    def read(self, data: bytes) -> PacketInfo:
        """Return what the headers of a packet contain.

        Raises:
            FrameError: bad_encoding.
            ValueError: a header is damaged.
        """
        slices: list[_Slice] = []
        is_idr = recovers = has_sequence = counts = False
        for unit in nal_units(data, "h264"):
            kind = unit[0] & 31
            if kind == _SPS:
                self._read_sequence(payload(unit, 1))
                has_sequence = True
            elif kind == _PPS:
                self._read_picture(payload(unit, 1))
            elif kind == _SEI:
                recovers |= _is_recovery_point(payload(unit, 1))
            elif kind in (_SLICE, _IDR):
                slices.append(self._read_slice(payload(unit[:_SLICE_BYTES], 1)))
                is_idr |= kind == _IDR
                counts |= bool(unit[0] >> 5 & 3)
        if not slices:
            return PacketInfo(0, 0, is_key=False, has_parameters=has_sequence)
        parameters, number = slices[0].parameters, slices[0].number
        # The two fields of a frame may be apart; they have the same number.
        begins = [each.number for each in slices if each.begins]
        is_key = is_idr or (recovers and not any(each.is_b for each in slices))
        is_leading = self._may_lead and any(each.is_b for each in slices)
        self._may_lead = not is_idr if is_key else is_leading
        return PacketInfo(
            pictures=max(len(set(begins)), 1),
            parts=len(slices),
            is_key=is_key,
            has_parameters=has_sequence,
            is_leading=is_leading,
            size=None if parameters is None else parameters.size,
            number=None if parameters is None or parameters.has_gaps else number,
            modulus=0 if parameters is None else 1 << parameters.number_bits,
            counts=counts,
            reorders=parameters is None or parameters.reorders,
        )

    def _read_sequence(self, data: bytes) -> None:
        bits = Bits(data)
        profile = bits.take(8)
        bits.take(16)
        place = bits.golomb()
        has_planes = False
        if profile in _WITH_CHROMA:
            chroma = bits.golomb()
            has_planes = chroma == _SEPARATE_PLANES and bits.flag()
            bits.golomb()
            bits.golomb()
            bits.flag()
            if bits.flag():
                _skip_scaling_lists(bits, 12 if chroma == _SEPARATE_PLANES else 8)
        number_bits = bits.golomb() + 4
        reorders = _read_reordering(bits)
        bits.golomb()
        has_gaps = bits.flag()
        width = (bits.golomb() + 1) * _MACROBLOCK
        rows = bits.golomb() + 1
        height = rows * _MACROBLOCK * (1 if bits.flag() else 2)
        if number_bits > _MACROBLOCK:
            raise ValueError(f"frame numbers have {number_bits} bits")
        parameters = _Parameters((height, width), number_bits, has_gaps, has_planes, reorders)
        _keep(self._sequences, place, parameters)

    def _read_picture(self, data: bytes) -> None:
        bits = Bits(data)
        place = bits.golomb()
        _keep(self._pictures, place, bits.golomb())

    def _read_slice(self, data: bytes) -> _Slice:
        bits = Bits(data)
        begins = bits.golomb() == 0
        is_b = bits.golomb() % 5 == _B
        parameters = self._sequences.get(self._pictures.get(bits.golomb(), -1))
        if parameters is None:
            return _Slice(begins, is_b, None, None)
        if parameters.has_planes:
            bits.take(2)
        return _Slice(begins, is_b, parameters, bits.take(parameters.number_bits))


def _keep(found: dict[int, _Kept], place: int, value: _Kept) -> None:
    if place >= _MOST_PARAMETER_SETS:
        raise ValueError(f"a parameter set has the number {place}")
    found[place] = value


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    for k in range(count):
        if not bits.flag():
            continue
        last = following = 8
        for _ in range(16 if k < 6 else 64):  # noqa: PLR2004  (six lists of 4x4, then of 8x8)
            if following:
                following = (last + bits.signed_golomb()) % 256
            last = following or last


def _read_reordering(bits: Bits) -> bool:
    """Return whether pictures may be shown in another order than that in which they come."""
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.flag()
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    return kind != _IN_ORDER


def _is_recovery_point(data: bytes) -> bool:
    """Return whether an SEI says that everything from here on is right at once."""
    place = 0
    while place + 2 < len(data):
        kind, place = _sum(data, place)
        size, place = _sum(data, place)
        if kind == _RECOVERY_POINT:
            return Bits(data[place : place + size]).golomb() == 0
        place += size
    return False


def _sum(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of bytes of which only the last is not 255, and where it ends."""
    total = 0
    while data[place : place + 1] == b"\xff":
        total += 255
        place += 1
    if place >= len(data):
        raise ValueError("an SEI message ends early")
    return total + data[place], place + 1
