"""Headers of VP9: its bitstream specification, section 6.2."""

from __future__ import annotations

from deeplab_miou.video.bits import Bits
from deeplab_miou.video.packet_info import PacketInfo

_HEADER_BYTES = 32
_MARKER = 2
_SYNC = 0x498342
_RGB = 7


class Vp9:
    """Reads the headers of VP9, see `deeplab_miou.video.packet_info.Headers`.

    It does not count its pictures.
    """

    def read(self, data: bytes) -> PacketInfo:
        """Return what the header of a packet's first frame tells.

        Raises:
            ValueError: it is no VP9, or damaged.
        """
        bits = Bits(data[:_HEADER_BYTES])
        if bits.take(2) != _MARKER:
            raise ValueError("it does not begin with a VP9 frame")
        profile = bits.take(1) | bits.take(1) << 1
        if profile == 3:  # noqa: PLR2004
            bits.take(1)
        if bits.flag() or bits.flag():  # shows a frame again; or builds on others
            return PacketInfo(1, 1, is_key=False, has_parameters=False)
        bits.take(2)
        if bits.take(24) != _SYNC:
            raise ValueError("a VP9 key frame lacks its sync code")
        _skip_colors(bits, profile)
        width = bits.take(16) + 1
        return PacketInfo(1, 1, is_key=True, has_parameters=True, size=(bits.take(16) + 1, width))


def _skip_colors(bits: Bits, profile: int) -> None:
    if profile >= 2:  # noqa: PLR2004
        bits.take(1)
    if bits.take(3) != _RGB:
        bits.take(1)
        if profile % 2:
            bits.take(3)
    elif profile % 2:
        bits.take(1)
