"""Parts of the image that are the same in every frame: a mask from a file, rows, a polygon."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.images.compressed import check_size, decode_file, hides_colors
from deeplab_miou.images.png import read_png_header

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# A label image has more values than a mask; more than these need not be listed.
_SHOWN = 5
_MAX_FILE_BYTES = 1 << 28


class Shape(ABC):
    """A part of the image whose pixels depend on the image's size alone."""

    @abstractmethod
    def inside(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which pixels are inside, bool ``(height, width)``.

        Raises:
            FrameError: size_mismatch; the shape does not fit an image of this size.
        """


@dataclass(frozen=True, eq=False)
class Mask(Shape):
    """The pixels of a picture that are not zero.

    Attributes:
        pixels: bool ``(h, w)``.
        file: where it is from.
    """

    pixels: NDArray[np.bool_]
    file: str

    def inside(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return the mask; it has the size of the ground truth or is of no use."""
        if self.pixels.shape != (height, width):
            rows, columns = self.pixels.shape
            raise FrameError(
                Reason.SIZE_MISMATCH,
                f"mask {self.file} is {columns}x{rows}, but the ground truth that is scored is "
                f"{width}x{height}: draw the mask at that size",
            )
        return self.pixels


@dataclass(frozen=True)
class Drawn(Shape):
    """A shape that is drawn for the size of the image, and again when that changes.

    Attributes:
        fractions: whether its numbers are fractions of height and width, not pixels.
    """

    fractions: bool = field(kw_only=True)
    _drawn: dict[tuple[int, int], NDArray[np.bool_]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def inside(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which pixels are inside; any thread, images of several sizes in turns too."""
        size = height, width
        drawn = self._drawn.get(size)
        if drawn is None:
            drawn = self._draw(height, width)
            if not self.fractions and not drawn.any():
                raise FrameError(
                    Reason.SIZE_MISMATCH,
                    f"the region of {self} has no pixel of the ground truth that is scored, "
                    f"{width}x{height}: use coordinates of that size, or fractions",
                )
            # One size is held, as a stream has one; what another thread returns is its own.
            self._drawn.clear()
            self._drawn[size] = drawn
        return drawn

    @abstractmethod
    def _draw(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which pixels of an image of this size are inside."""


@dataclass(frozen=True)
class Rows(Drawn):
    """The rows from one to before another.

    Attributes:
        first: the first row, or where it is as a fraction of the height.
        past_last: the first row that is outside again, or where.
    """

    first: float
    past_last: float

    def __str__(self) -> str:
        return f"rows {self.first:g} to {self.past_last:g}"

    def _draw(self, height: int, width: int) -> NDArray[np.bool_]:
        """Bands that meet share no row and leave none out."""
        scale = height if self.fractions else 1
        first, past_last = (round(edge * scale) for edge in (self.first, self.past_last))
        inside = np.zeros((height, width), np.bool_)
        inside[first:past_last] = True
        return inside


@dataclass(frozen=True)
class Polygon(Drawn):
    """The pixels whose centres are inside a polygon, by the even-odd rule.

    Polygons that share an edge share no pixel.

    Attributes:
        points: its corners ``(x, y)``: columns and rows, or fractions of width and height.
    """

    points: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        x, y = self.points[0]
        return f"the polygon that begins at ({x:g}, {y:g})"

    def _draw(self, height: int, width: int) -> NDArray[np.bool_]:
        """Count, for each pixel, the edges that a ray to its right crosses."""
        corners = np.array(self.points) * ((width, height) if self.fractions else (1, 1))
        x = np.arange(width) + 0.5
        y = np.arange(height) + 0.5
        inside = np.zeros((height, width), np.bool_)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            rows = np.flatnonzero((y0 > y) != (y1 > y))
            crossing = x0 + (y[rows] - y0) / (y1 - y0) * (x1 - x0) if rows.size else y[rows]
            inside[rows] ^= x < crossing[:, None]
        return inside


def read_mask(path: Path) -> Mask:
    """Read a mask.

    Args:
        path: a PNG whose pixels have one value, not zero, where they are inside.

    Raises:
        ConfigurationError: it cannot be read, or is not a mask.
    """
    try:
        with path.open("rb") as file:
            data = np.frombuffer(file.read(_MAX_FILE_BYTES), np.uint8)
    except OSError as error:
        raise ConfigurationError(
            f"mask {path} cannot be read: {error.strerror or error}"
        ) from error
    header = read_png_header(data)
    if header is None:
        raise ConfigurationError(f"mask {path} is not a PNG: save it as one")
    try:
        check_size(header.height, header.width)
        picture, palette = decode_file(data, header)
        hides = hides_colors(data, header)
    except FrameError as error:
        raise ConfigurationError(f"mask {path}: {error}") from None
    pixels = np.atleast_3d(picture)
    inside: NDArray[np.bool_] = np.any(pixels, axis=2)
    if hides:
        raise ConfigurationError(
            f"mask {path} has transparent pixels that are not black beneath: save it without "
            "transparency"
        )
    if palette is not None and not np.array_equal(_colored(palette)[picture], inside):
        raise ConfigurationError(
            f"mask {path} is an indexed PNG in which index 0 and black are not the same pixels: "
            "save it in shades of grey"
        )
    if not inside.any():
        raise ConfigurationError(
            f"mask {path} is 0 everywhere, expected another value inside the region"
        )
    values = np.unique(pixels[inside], axis=0)
    if len(values) > 1:
        shown = ", ".join("/".join(map(str, value)) for value in values[:_SHOWN].tolist())
        more = ", ..." if len(values) > _SHOWN else ""
        raise ConfigurationError(
            f"mask {path} has {len(values)} values besides 0 ({shown}{more}), expected one: 0 is "
            "outside, any other value inside"
        )
    return Mask(inside, str(path))


def _colored(palette: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which of 256 indices have a colour that is not black, given a palette (k, 3)."""
    colored = np.zeros(256, np.bool_)
    colored[: len(palette)] = palette.any(axis=1)
    return colored
