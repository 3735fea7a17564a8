"""Label maps: what a pixel of a label image means.

A label map turns the raw ids or colours of a label image into *train ids*: ``0..n-1`` in the order
of the network's classes, or ``ignore_index`` for pixels that are not scored. Its file's format is
told in `deeplab_miou.labels.file_format`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import cv2
import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.labels import file_format
from deeplab_miou.labels.raw_ids import RawIds
from deeplab_miou.labels.tables import ColorTable, IdTable
from deeplab_miou.paths import user_path
from deeplab_miou.resources import share_directory
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from deeplab_miou.labels.file_format import Entry

IGNORE_INDEX = 255


@dataclass(frozen=True)
class MappedLabels:
    """A label image in train ids.

    Attributes:
        ids: (H, W) uint8, train ids or the label map's ``ignore_index``. Where raw ids are train
            ids it may be the input itself, so it is for reading only.
        unmapped: pixels whose raw id or colour the label map does not know; they are ignored.
    """

    ids: NDArray[np.uint8]
    unmapped: int


@dataclass(frozen=True, eq=False)
class LabelMap:
    """What the raw ids and colours of label images mean; made by `load_label_map` or `from_dict`.

    Equal when `to_dict` is equal. Lookup tables are built when first needed; one label map may be
    used from several threads.

    Attributes:
        name: what it is called in reports.
        class_names: n names; a class's train id is its position.
        palette: (n, 3) uint8 RGB, the colour that each class is painted with; read-only.
        ignore_index: train id of pixels that are not scored; never a class's.
        unmapped: what becomes of raw values that are not listed: ignored and counted, or an error.
        description: where it is from.
        classes: the classes as given.
        ignored: raw ids and colours that are known and not scored.
        raw_ids: where in the pixels of label images raw ids are.
    """

    name: str
    class_names: tuple[str, ...]
    palette: NDArray[np.uint8]
    ignore_index: int
    unmapped: Literal["ignore", "error"]
    description: str
    classes: tuple[Entry, ...]
    ignored: tuple[Entry, ...]
    raw_ids: RawIds

    @property
    def num_classes(self) -> int:
        """Number of classes n."""
        return len(self.class_names)

    @property
    def has_colors(self) -> bool:
        """Whether label images of colours can be read."""
        return any(entry.colors for entry in self.classes)

    @cached_property
    def lenient(self) -> LabelMap:
        """This map where unknown values are counted, whatever becomes of them here."""
        return replace(self, unmapped="ignore")

    def map_ids(self, raw: NDArray[np.uint8 | np.uint16 | np.int32]) -> MappedLabels:
        """Map raw ids, or values that hold them, to train ids.

        Args:
            raw: (H, W) uint8, uint16 or int32; any strides. Left as it is.

        Raises:
            FrameError: an id is not in the map and ``unmapped`` is ``error``.
        """
        if raw.ndim != 2 or raw.dtype not in (np.uint8, np.uint16, np.int32):  # noqa: PLR2004
            raise TypeError(
                f"expected raw ids (H, W) of uint8, uint16 or int32, got {raw.shape} {raw.dtype}"
            )
        ids, unmapped = self._id_table.map(self.raw_ids.of_values(raw))
        if unmapped and self.unmapped == "error":
            raise self._unknown_label(self.unknown_ids(raw))
        return MappedLabels(ids, unmapped)

    def map_colors(self, rgb: NDArray[np.uint8 | np.uint16], *, bgr: bool = False) -> MappedLabels:
        """Map colours to train ids; colours must be exact, or channels hold raw ids.

        Args:
            rgb: (H, W, 3) uint8 RGB, or (H, W, 4) with an alpha that is not looked at; uint16 where
                one channel holds raw ids.
            bgr: the first three channels are blue, green, red.

        Raises:
            FrameError: the map has no colours, or they are not of 8 bits, or a colour is not in the
                map and ``unmapped`` is ``error``.
        """
        if rgb.ndim != 3 or rgb.shape[2] not in (3, 4) or rgb.dtype.kind != "u":  # noqa: PLR2004
            raise TypeError(
                f"expected colours (H, W, 3 or 4) of uint8 or uint16, got {rgb.shape} {rgb.dtype}"
            )
        if self.raw_ids.id_channel not in ("", "rgb"):
            return self.map_ids(self.raw_ids.of_colors(rgb, bgr=bgr))
        if rgb.itemsize > 1:
            raise FrameError(
                Reason.BAD_ENCODING,
                f"label image has colours of {8 * rgb.itemsize} bits, expected 8: publish ids "
                "(mono8, mono16) or 8-bit colours, or say in the label map which channel holds "
                "ids (id_channel)",
            )
        if self.raw_ids.id_channel:
            return self.map_ids(self.raw_ids.of_colors(rgb, bgr=bgr))
        if not self.has_colors:
            raise FrameError(
                Reason.BAD_ENCODING,
                f"label image has colours, but label map {self.name} has none: publish ids "
                "(mono8, mono16) or give the classes a color",
            )
        ids, unmapped = self._color_table.map(cast("NDArray[np.uint8]", rgb), bgr=bgr)
        if unmapped and self.unmapped == "error":
            raise self._unknown_label(self.unknown_colors(rgb, bgr=bgr))
        return MappedLabels(ids, unmapped)

    def of_train_ids(self) -> LabelMap:
        """Return the map of images whose raw ids are train ids, with these classes and colours."""
        classes = tuple(replace(entry, ids=(k,)) for k, entry in enumerate(self.classes))
        ignored = tuple(replace(entry, ids=()) for entry in self.ignored)
        return replace(self, classes=classes, ignored=ignored, raw_ids=RawIds(), unmapped="ignore")

    def unknown_ids(self, raw: NDArray[np.uint8 | np.uint16 | np.int32]) -> str:
        """Name the most frequent raw ids (H, W) that are not in the map; empty if all are."""
        return _most_frequent(raw[self._id_table.unknown(self.raw_ids.of_values(raw))], "raw id")

    def unknown_colors(self, rgb: NDArray[np.uint8 | np.uint16], *, bgr: bool = False) -> str:
        """Name the most frequent colours that are not in the map; arguments as `map_colors`."""
        if self.raw_ids.id_channel:
            return self.unknown_ids(self.raw_ids.of_colors(rgb, bgr=bgr))
        colors = cast("NDArray[np.uint8]", rgb)
        return _most_frequent(self._color_table.unknown(colors, bgr=bgr), "colour")

    def colorize(self, ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Paint train ids (H, W) as (H, W, 3) uint8 RGB; ignored and invalid ids are black."""
        if ids.size == 0:
            return np.zeros((*ids.shape, 3), np.uint8)
        gray = cv2.cvtColor(ids, cv2.COLOR_GRAY2RGB)
        return cast("NDArray[np.uint8]", cv2.LUT(gray, self._paint_table))

    def to_dict(self) -> dict[str, object]:
        """Return the map as plain types for JSON, in the format of the files."""
        return {
            "name": self.name,
            "description": self.description,
            "unmapped": self.unmapped,
            "ignore_index": self.ignore_index,
            **self.raw_ids.to_dict(),
            "classes": [_entry_dict(entry) for entry in self.classes],
            "ignore": [_entry_dict(entry) for entry in self.ignored],
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object], origin: str) -> LabelMap:
        """Make a label map from plain types, such as `to_dict` returns.

        Args:
            mapping: the same keys as in a file.
            origin: what error messages call it.

        Raises:
            ConfigurationError: malformed; the message names origin and key.
        """
        return cls._from_spec(file_format.check(mapping, origin))

    @classmethod
    def _from_spec(cls, spec: file_format.Spec) -> LabelMap:
        painted = [entry.color for entry in spec.classes if entry.color is not None]
        colors = painted or [_made_up_color(i) for i in range(len(spec.classes))]
        palette = np.array(colors, np.uint8).reshape(len(colors), 3)
        palette.flags.writeable = False
        return cls(
            name=spec.name,
            class_names=tuple(entry.name for entry in spec.classes),
            palette=palette,
            ignore_index=spec.ignore_index,
            unmapped="error" if spec.unmapped == "error" else "ignore",
            description=spec.description,
            classes=spec.classes,
            ignored=spec.ignore,
            raw_ids=spec.raw_ids,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelMap) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.class_names))

    def _unknown_label(self, values: str) -> FrameError:
        return FrameError(
            Reason.UNKNOWN_LABEL,
            f"label map {self.name} does not know {values}: "
            "choose the label map that the labels were made with, or set unmapped: ignore",
        )

    @cached_property
    def _id_table(self) -> IdTable:
        return IdTable(self.classes, self.ignored, self.ignore_index)

    @cached_property
    def _color_table(self) -> ColorTable:
        return ColorTable(self.classes, self.ignored, self.ignore_index)

    @cached_property
    def _paint_table(self) -> NDArray[np.uint8]:
        table = np.zeros((1, 256, 3), np.uint8)
        table[0, : self.num_classes] = self.palette
        return table


def load_label_map(name_or_path: str | Path) -> LabelMap:
    """Load a label map that ships with the package by its name, or any other by its file's path.

    Raises:
        ConfigurationError: there is none, or it is malformed; the message names file, line, key.
    """
    shipped = available_label_maps()
    if name_or_path in shipped:
        path = _folder() / f"{name_or_path}.yaml"
    else:
        path = user_path(name_or_path)
        if not path.is_file():
            raise ConfigurationError(
                f"label map {name_or_path} is neither a file nor one of: {', '.join(shipped)}"
            )
    return LabelMap._from_spec(file_format.read(path))  # noqa: SLF001


def available_label_maps() -> list[str]:
    """Return the names of the label maps that ship with the package, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _folder() -> Path:
    return share_directory() / "config" / "labels"


def _entry_dict(entry: Entry) -> dict[str, object]:
    result: dict[str, object] = {"name": entry.name, "ids": list(entry.ids)}
    if entry.color is not None:
        result["color"] = list(entry.color)
    result["colors"] = [list(color) for color in entry.colors]
    if entry.aliases:
        result["aliases"] = list(entry.aliases)
    return result


def _made_up_color(index: int) -> file_format.Color:
    """Spread an id's bits over the high bits of red, green and blue, as Pascal VOC's palette."""
    index += 1
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return (channels[0], channels[1], channels[2])


def _most_frequent(values: NDArray[Any], what: str) -> str:
    """Spell the most frequent of raw ids (k,) or colours (k, 3): ``raw id 77 (123 pixels), …``."""
    unique, counts = np.unique(values, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = [f"{what} {unique[i].tolist()} ({plural(counts[i], 'pixel')})" for i in order[:3]]
    rest = f" and {len(order) - 3} more" if len(order) > 3 else ""  # noqa: PLR2004
    return ", ".join(shown) + rest
