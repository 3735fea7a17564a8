"""What a packet's headers tell, known without decoding it."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class PacketInfo(NamedTuple):
    """One packet.

    Attributes:
        pictures: how many pictures begin in it; one, if it is as the message types have it.
        parts: pieces that a decoder works on one after the other.
        is_key: nothing that follows needs anything from before it but parameter sets.
        has_parameters: it holds the parameter sets that its pictures need.
        is_leading: it comes after a key frame and needs what came before that.
        size: (height, width) that its parameter sets declare; None if it has none.
        number: place that the codec counts; None if it does not count, or not in this packet.
        modulus: what the number starts again at.
        counts: pictures after this one count from here.
        lacks_key: a key frame is missing between it and those before it.
        reorders: pictures may be shown in another order than that in which they come.
    """

    pictures: int
    parts: int
    is_key: bool
    has_parameters: bool
    is_leading: bool = False
    size: tuple[int, int] | None = None
    number: int | None = None
    modulus: int = 0
    counts: bool = True
    lacks_key: bool = False
    reorders: bool = False


class Headers(Protocol):
    """Reads the headers of one video's packets, in their order: it remembers parameter sets."""

    def read(self, data: bytes) -> PacketInfo:
        """Return what the headers of a packet contain.

        Raises:
            FrameError: bad_encoding or truncated_data.
        """
