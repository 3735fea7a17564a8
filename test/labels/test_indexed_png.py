"""Whether an indexed PNG means its indices or its palette's colours."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.images.decoding import decode_labels, unknown_labels
from deeplab_miou.images.messages import CompressedImage
from deeplab_miou.labels.label_map import LabelMap

CLASSES = [
    {"name": "road", "color": [128, 64, 128], "ids": [7]},
    {"name": "car", "color": [0, 0, 142], "ids": [26]},
]
VOID = [{"name": "void", "color": [0, 0, 0], "ids": [0]}]
VIEWER = np.zeros((256, 3), np.uint8)
VIEWER[[7, 26]] = [[128, 128, 128], [64, 0, 64]]
OWN = [[0, 0, 142], [128, 64, 128], [0, 0, 0]]


def label_map(**keys):
    return LabelMap.from_dict({"name": "m", "classes": CLASSES, "ignore": VOID, **keys}, "m")


def indexed(indices, palette):
    """Write an indexed PNG with `struct`; OpenCV writes none."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    indices = np.array(indices, np.uint8)
    header = struct.pack(">IIBBBBB", indices.shape[1], indices.shape[0], 8, 3, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in indices))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"PLTE", np.array(palette, np.uint8).tobytes())
    return CompressedImage("png", data + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_an_indexed_png_is_read_where_the_map_leaves_no_doubt():
    by_index = decode_labels(indexed([[7, 26, 0]], VIEWER), label_map())
    assert by_index.ids.tolist() == [[0, 1, 255]]
    by_color = decode_labels(indexed([[1, 0, 2]], OWN), label_map())
    assert by_color.ids.tolist() == [[0, 1, 255]]
    no_colors = LabelMap.from_dict({"name": "m", "classes": [{"name": "a"}, {"name": "b"}]}, "m")
    assert decode_labels(indexed([[1, 0]], OWN), no_colors).ids.tolist() == [[1, 0]]
    # Both mean the same: a palette that is the map's own.
    both = np.zeros((27, 3), np.uint8)
    both[7], both[26] = CLASSES[0]["color"], CLASSES[1]["color"]
    assert decode_labels(indexed([[7, 26, 0]], both), label_map()).ids.tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(
    ("indices", "palette"),
    [
        ([[7, 26]], np.tile([[0, 0, 142]], (256, 1))),  # known either way, and not the same
        ([[7, 9]], VIEWER),  # not wholly known either way
    ],
)
def test_an_indexed_png_that_may_mean_either_is_refused_until_the_map_says(indices, palette):
    message = indexed(indices, palette)
    with pytest.raises(FrameError, match="indexed_png: index or indexed_png: color") as caught:
        decode_labels(message, label_map())
    assert caught.value.reason == Reason.BAD_ENCODING
    by_index = decode_labels(message, label_map(indexed_png="index"))
    assert by_index.ids.tolist() == [[{7: 0, 26: 1}.get(i, 255) for i in indices[0]]]
    by_color = decode_labels(message, label_map(indexed_png="color"))
    known = {(128, 64, 128): 0, (0, 0, 142): 1, (0, 0, 0): 255}
    assert by_color.ids.tolist() == [[known.get(tuple(palette[i]), 255) for i in indices[0]]]
    assert unknown_labels(message, label_map(indexed_png="index")).count("raw id") == (
        9 in indices[0]
    )


def test_an_index_beyond_the_palette_is_no_colour():
    message = indexed([[7, 26]], VIEWER[:8])
    assert decode_labels(message, label_map()).ids.tolist() == [[0, 1]]
    with pytest.raises(FrameError, match="palette has 8 colours"):
        decode_labels(message, label_map(indexed_png="color"))


def test_predictions_in_indexed_pngs_are_doubted_alike():
    predictor = topic_predictor(label_map())
    palette = np.stack([np.arange(256)] * 2 + [np.full(256, 99)], -1)
    assert predictor.prepare(indexed([[1, 0, 255]], palette)).tolist() == [[1, 0, 255]]
    for indices in ([[1, 0]], [[2, 0, 1]]):
        with pytest.raises(FrameError) as caught:
            predictor.prepare(indexed(indices, OWN))
        assert caught.value.reason == Reason.BAD_ENCODING
    said = topic_predictor(label_map(), label_map(indexed_png="color"))
    assert said.prepare(indexed([[1, 0, 2]], OWN)).tolist() == [[0, 1, 255]]
