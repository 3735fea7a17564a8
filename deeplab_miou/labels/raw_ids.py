"""Where in a label image's pixels the raw ids are: a channel, or a part of a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS = ("red", "green", "blue", "rgb")
BELOW_DIVISOR = ("id", "zero")
INDEXED_PNG = ("index", "color")
_NO_ID = -1


@dataclass(frozen=True)
class RawIds:
    """How label images hold raw ids; the keys of a label map file have the same names.

    Attributes:
        id_channel: the channel of images of colours that holds a value, or ``rgb`` where all three
            do, ``red + 256 green + 65536 blue``; empty where colours are looked up.
        id_divisor: a value's id is ``value // id_divisor``.
        id_modulus: of that, ``% id_modulus``; 0 for all of it.
        below_divisor: what values from 1 to below the divisor are: ``id``, ids themselves, or
            ``zero``, instances of id 0; empty where neither is known.
        indexed_png: what an indexed PNG means, its ``index`` or its ``color``; empty where each
            file has to prove it.
    """

    id_channel: str = ""
    id_divisor: int = 1
    id_modulus: int = 0
    below_divisor: str = ""
    indexed_png: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return what is not the default, for a label map file."""
        usual = RawIds()
        return {key: value for key, value in vars(self).items() if value != getattr(usual, key)}

    def of_values(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the ids (H, W) of values (H, W) of integers; -1 where this cannot be decided."""
        if self.id_divisor == 1 and not self.id_modulus:
            return values
        whole = values.astype(np.int32)
        ids = whole // self.id_divisor
        if self.id_modulus:
            ids %= self.id_modulus
        small = (whole > 0) & (whole < self.id_divisor)
        if self.below_divisor == "id":
            ids[small] = whole[small]
        elif not self.below_divisor:
            ids[small] = _NO_ID
        return ids

    def of_colors(self, colors: NDArray[Any], *, bgr: bool) -> NDArray[Any]:
        """Return the values (H, W) that colours (H, W, 3 or 4) hold; there is an ``id_channel``."""
        if self.id_channel == "rgb":
            return pack_colors(colors, bgr=bgr).view(np.int32)
        channel = CHANNELS.index(self.id_channel)
        return colors[..., 2 - channel if bgr else channel]


def pack_colors(block: NDArray[np.uint8], *, bgr: bool) -> NDArray[np.uint32]:
    """Return colours (h, w, 3 or 4) as numbers (h, w), ``red + 256 green + 65536 blue``."""
    codes = {
        (3, False): cv2.COLOR_RGB2RGBA,
        (3, True): cv2.COLOR_BGR2RGBA,
        (4, False): None,
        (4, True): cv2.COLOR_BGRA2RGBA,
    }
    code = codes[block.shape[2], bgr]
    rgba = np.ascontiguousarray(block) if code is None else cv2.cvtColor(block, code)
    packed = rgba.view(np.dtype("<u4"))[..., 0]
    return cast("NDArray[np.uint32]", packed & np.uint32(0xFFFFFF))
