"""The codecs that are read, by the names that publishers give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.text import quote
from deeplab_miou.video.av1 import Av1
from deeplab_miou.video.h264 import H264
from deeplab_miou.video.h265 import H265
from deeplab_miou.video.vp9 import Vp9

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.video.packet_info import Headers


class Codec(NamedTuple):
    """One codec.

    Attributes:
        name: its usual name.
        decoder: FFmpeg's decoder. For VP9 it is libvpx's, because FFmpeg's own does not notice
            damage; for AV1 dav1d's, because FFmpeg's own needs special hardware.
        make_headers: returns what reads the headers of a video.
        marks: encoders of this codec have one of these in their names.
    """

    name: str
    decoder: str
    make_headers: Callable[[], Headers]
    marks: tuple[str, ...]


CODECS = (
    Codec("h264", "h264", H264, ("264",)),
    Codec("h265", "hevc", H265, ("265", "hevc")),
    Codec("av1", "libdav1d", Av1, ("av1",)),
    Codec("vp9", "libvpx-vp9", Vp9, ("vp9",)),
)


def codec_of(encoding: str) -> Codec:
    """Return the codec of an encoding such as ``h264``, ``libx265`` or ``hevc_nvenc;nv12;bgr8``.

    Raises:
        FrameError: bad_encoding: it is none of these.
    """
    name = encoding.partition(";")[0].lower()
    for codec in CODECS:
        if any(mark in name for mark in codec.marks):
            return codec
    raise FrameError(
        Reason.BAD_ENCODING,
        f"video has encoding {quote(encoding)}, expected one of: "
        f"{', '.join(codec.name for codec in CODECS)}",
    )
