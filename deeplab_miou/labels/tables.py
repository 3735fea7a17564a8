"""Lookup tables of a label map: raw ids and colours to train ids, in one pass."""

from __future__ import annotations

import mmap
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deeplab_miou.labels.file_format import MAX_RAW_ID
from deeplab_miou.labels.raw_ids import pack_colors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.labels.file_format import Entry

# Rows are looked up in blocks of about this many pixels: temporaries stay in the cache.
_BLOCK_PIXELS = 1 << 15
_WORD = 8
_BYTES = 256
# More are not checked in place, see `kernels.any_foreign`.
_MAX_CHECKED_CLASSES = 128


class _Table:
    """What ids and colours have in common.

    Args:
        classes: the classes; train ids are their positions.
        ignored: raw values that are known and not scored.
        ignore_index: train id of pixels that are not scored.
    """

    def __init__(
        self, classes: Sequence[Entry], ignored: Sequence[Entry], ignore_index: int
    ) -> None:
        self._classes = classes
        self._ignored = ignored
        self._ignore_index = ignore_index
        # A mark that is neither a train id nor ignore_index; 256 if all others are taken.
        self._mark = len(classes) + (ignore_index == len(classes))
        self._dtype: type[np.uint8 | np.uint16] = (
            np.uint8 if self._mark <= np.iinfo(np.uint8).max else np.uint16
        )

    def _write_block(self, found: NDArray[np.uint8 | np.uint16], out: NDArray[np.uint8]) -> int:
        """Write a block of what was found; marked pixels are ignored, and counted."""
        unknown = found == self._mark
        count = int(np.count_nonzero(unknown))
        if count:
            found[unknown] = self._ignore_index
        out[...] = found
        return count


class IdTable(_Table):
    """Train ids of raw ids."""

    def map(self, raw: NDArray[np.uint8 | np.uint16 | np.int32]) -> tuple[NDArray[np.uint8], int]:
        """Return train ids (H, W) of raw ids (H, W), and how many are not known.

        If the raw ids are train ids, they are returned themselves.
        """
        if raw.dtype == np.uint8:
            return self._map_bytes(cast("NDArray[np.uint8]", raw))
        ids = np.empty(raw.shape, np.uint8)
        return ids, sum(
            self._write_block(self._find(raw[rows]), ids[rows]) for rows in _blocks(raw)
        )

    def unknown(self, raw: NDArray[np.uint8 | np.uint16 | np.int32]) -> NDArray[np.bool_]:
        """Return which raw ids (H, W) are not known."""
        return cast("NDArray[np.bool_]", self._find(raw) == self._mark)

    def _map_bytes(self, raw: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        # Numba takes half a second to import: only a process that maps ids pays for it.
        from deeplab_miou.metric import kernels  # noqa: PLC0415

        if self._is_identity and raw.flags.c_contiguous:
            flat = raw.reshape(-1)
            words = flat.size // _WORD * _WORD
            foreign = kernels.any_foreign()(
                flat[:words].view(np.uint64), len(self._classes), self._ignore_index
            )
            if not foreign and (words == flat.size or not self._byte_tables[1][flat[words:]].any()):
                return raw, 0
        ids = np.empty(raw.shape, np.uint8)
        words = raw.shape[1] // _WORD * _WORD if raw.strides[1] == 1 else 0
        count = 0
        if words and ids.size:
            count = kernels.map_words()(
                raw[:, :words].view(np.uint64), *self._byte_tables, ids[:, :words].view(np.uint64)
            )
        if words < raw.shape[1]:
            rest = np.s_[:, words:]
            count += self._write_block(self._find(raw[rest]), ids[rest])
        return ids, count

    def _find(self, raw: NDArray[np.uint8 | np.uint16 | np.int32]) -> NDArray[np.uint8 | np.uint16]:
        found = np.take(self._table, raw, mode="clip")
        if raw.dtype == np.int32:
            found[(raw < 0) | (raw > MAX_RAW_ID)] = self._mark
        return found

    @cached_property
    def _is_identity(self) -> bool:
        """Whether exactly the train ids and ``ignore_index`` are known, as themselves."""
        if len(self._classes) > _MAX_CHECKED_CLASSES:
            return False
        known = [*range(len(self._classes)), self._ignore_index]
        expected = np.full(_BYTES, self._mark, self._dtype)
        expected[known] = known
        return bool(np.array_equal(self._table[:_BYTES], expected))

    @cached_property
    def _byte_tables(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        table = self._table[:_BYTES]
        unknown = table == self._mark
        return np.where(unknown, self._ignore_index, table).astype(np.uint8), unknown.view(np.uint8)

    @cached_property
    def _table(self) -> NDArray[np.uint8 | np.uint16]:
        table = np.full(MAX_RAW_ID + 1, self._mark, self._dtype)
        for train_id, entry in enumerate(self._classes):
            table[list(entry.ids)] = train_id
        if all(entry.ids == (train_id,) for train_id, entry in enumerate(self._classes)):
            table[self._ignore_index] = self._ignore_index  # raw ids are train ids, this one too
        for entry in self._ignored:
            table[list(entry.ids)] = self._ignore_index
        return table


class ColorTable(_Table):
    """Train ids of colours."""

    def map(self, rgb: NDArray[np.uint8], *, bgr: bool) -> tuple[NDArray[np.uint8], int]:
        """Return train ids (H, W) of colours (H, W, 3 or 4), and how many are not known."""
        ids = np.empty(rgb.shape[:2], np.uint8)
        count = 0
        for rows in _blocks(rgb):
            count += self._write_block(self._find(rgb[rows], bgr=bgr), ids[rows])
        return ids, count

    def unknown(self, rgb: NDArray[np.uint8], *, bgr: bool) -> NDArray[np.uint8]:
        """Return the colours (k, 3), red first, that are not known, in the order of the image."""
        colors = rgb[..., 2::-1] if bgr else rgb[..., :3]
        return cast("NDArray[np.uint8]", colors[self._find(rgb, bgr=bgr) == self._mark])

    def _find(self, rgb: NDArray[np.uint8], *, bgr: bool) -> NDArray[np.uint8 | np.uint16]:
        found = np.take(self._table, pack_colors(rgb, bgr=bgr), mode="clip")
        found ^= self._dtype(self._mark)
        return found

    @cached_property
    def _table(self) -> NDArray[np.uint8 | np.uint16]:
        """Train id of every 24-bit colour, xor the mark of unknown ones.

        So unknown colours are 0 and the table, 16 MiB of address space, takes memory only for the
        pages that hold a known colour or a colour that has been looked up.
        """
        size = (1 << 24) * np.dtype(self._dtype).itemsize
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
        table: NDArray[np.uint8 | np.uint16] = np.frombuffer(memory, self._dtype)
        for train_id, entry in enumerate(self._classes):
            for red, green, blue in entry.colors:
                table[red | green << 8 | blue << 16] = train_id ^ self._mark
        for entry in self._ignored:
            for red, green, blue in entry.colors:
                table[red | green << 8 | blue << 16] = self._ignore_index ^ self._mark
        return table


def _blocks(image: NDArray[Any]) -> Iterator[slice]:
    height, width = image.shape[:2]
    rows = max(1, _BLOCK_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, top + rows)
