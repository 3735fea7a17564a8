"""Headers of H.265: ITU-T H.265, clause 7.3."""

from __future__ import annotations

from deeplab_miou.video.bits import Bits
from deeplab_miou.video.nal_units import nal_units, payload
from deeplab_miou.video.packet_info import PacketInfo

_FIRST_IRAP, _LAST_IRAP = 16, 21
_LAST_SLICE = 31
_LEADING = (8, 9)  # RASL: skipped, because they refer to what came before the key frame
_SPS = 33


class H265:
    """Reads the headers of H.265, see `deeplab_miou.video.packet_info.Headers`.

    Its pictures name those that they refer to, so the decoder notices what is missing.
    """

    def read(self, data: bytes) -> PacketInfo:
        """Return what the headers of a packet tell.

        Raises:
            FrameError: bad_encoding.
            ValueError: a header is damaged.
        """
        kinds: list[int] = []
        pictures = 0
        size = None
        for unit in nal_units(data, "h265"):
            kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1:2].ljust(1, b"\0")[0] >> 3
            if layer:
                continue
            if kind == _SPS:
                size = _read_size(payload(unit, 2))
            elif kind <= _LAST_SLICE:
                kinds.append(kind)
                pictures += bool(unit[2:3].ljust(1, b"\0")[0] & 128)
        return PacketInfo(
            pictures=max(pictures, 1) if kinds else 0,
            parts=len(kinds),
            is_key=bool(kinds) and _FIRST_IRAP <= kinds[0] <= _LAST_IRAP,
            has_parameters=size is not None,
            is_leading=bool(kinds) and kinds[0] in _LEADING,
            size=size,
            reorders=True,
        )


def _read_size(data: bytes) -> tuple[int, int]:
    bits = Bits(data)
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.flag(), bits.flag()) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)
    bits.golomb()
    if bits.golomb() == 3:  # noqa: PLR2004  (4:4:4)
        bits.flag()
    width = bits.golomb()
    return bits.golomb(), width
