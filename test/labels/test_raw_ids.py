"""Where in a label image's pixels the raw ids are: channels, parts of numbers, indices."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from image_files import mono8, raw_image

from deeplab_miou.accounting import Reason
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.cli import main
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.images.decoding import decode_labels, unknown_labels
from deeplab_miou.images.messages import CompressedImage
from deeplab_miou.labels.label_map import LabelMap, load_label_map

CLASSES = [
    {"name": "road", "color": [128, 64, 128], "ids": [7]},
    {"name": "car", "color": [0, 0, 142], "ids": [26]},
]
VOID = [{"name": "void", "color": [0, 0, 0], "ids": [0]}]


def label_map(**keys):
    return LabelMap.from_dict({"name": "m", "classes": CLASSES, "ignore": VOID, **keys}, "m")


def png(array):
    return CompressedImage("png", cv2.imencode(".png", array)[1].tobytes())


@pytest.mark.parametrize(
    ("keys", "values", "expected", "unknown"),
    [
        ({"id_divisor": 1000}, [7000, 7012, 26999, 0, 5, 9001], [0, 0, 1, 255, 255, 255], 2),
        ({"id_divisor": 256}, [7 * 256, 7 * 256 + 255, 26 * 256], [0, 0, 1], 0),
        (
            {"id_divisor": 1000, "below_divisor": "id"},
            [7, 26, 26001, 0, 7003],
            [0, 1, 1, 255, 0],
            0,
        ),
        ({"id_divisor": 1000, "below_divisor": "zero"}, [7, 999, 7000], [255, 255, 0], 0),
        ({"id_divisor": 65536}, [7 << 16 | 9, 26 << 16 | 65535, -1], [0, 1, 255], 1),
        ({"id_modulus": 65536}, [9 << 16 | 7, 26, 3 << 16], [0, 1, 255], 0),
        ({"id_divisor": 256, "id_modulus": 256}, [5 << 16 | 26 << 8 | 3], [1], 0),
    ],
)
def test_a_number_holds_more_than_the_id(keys, values, expected, unknown):
    for dtype, encoding in ((np.int32, "32SC1"), (np.uint16, "mono16")):
        if max(values) > 65535 and dtype == np.uint16:
            continue
        if min(values) < 0 and dtype == np.uint16:
            continue
        labels = decode_labels(raw_image(np.array([values], dtype), encoding), label_map(**keys))
        assert labels.ids.tolist() == [expected]
        assert labels.unmapped == unknown


def test_unknown_values_are_shown_as_they_are():
    message = raw_image(np.array([[7000, 9001, 12]], np.uint16), "mono16")
    told = unknown_labels(message, label_map(id_divisor=1000))
    assert told == "raw id 12 (1 pixel), raw id 9001 (1 pixel)"


def test_synthias_labels_are_in_the_first_of_three_channels_of_16_bits():
    rgb = np.array([[[7, 300, 0], [26, 1, 0], [0, 0, 0]]], np.uint16)
    message = png(rgb[..., ::-1])
    assert decode_labels(message, label_map(id_channel="red")).ids.tolist() == [[0, 1, 255]]
    with pytest.raises(FrameError, match="id_channel") as caught:
        decode_labels(message, label_map())
    assert caught.value.reason == Reason.BAD_ENCODING


def test_panoptic_images_of_colours_hold_numbers():
    """COCO's format: red + 256 green + 65536 blue, here as Cityscapes' panoptic images use it."""
    values = np.array([[7, 26001, 26 * 1000 + 400, 0]])
    rgb = np.stack([values % 256, values // 256 % 256, values // 65536], -1).astype(np.uint8)
    keys = {"id_channel": "rgb", "id_divisor": 1000, "below_divisor": "id"}
    for message in (png(rgb[..., ::-1]), raw_image(rgb, "rgb8")):
        assert decode_labels(message, label_map(**keys)).ids.tolist() == [[0, 1, 1, 255]]


def test_keys_are_checked_and_kept():
    keys = {"id_channel": "rgb", "id_divisor": 1000, "below_divisor": "id", "indexed_png": "index"}
    given = label_map(**keys)
    assert LabelMap.from_dict(given.to_dict(), "again") == given
    for wrong, told in (
        ({"id_divisor": 0}, "id_divisor is 0, expected a whole number from 1"),
        ({"id_modulus": 1}, "id_modulus is 1, expected a whole number from 2"),
        ({"below_divisor": "id"}, "below_divisor is given without id_divisor"),
        ({"indexed_png": "colour"}, "indexed_png is 'colour', expected one of: index, color"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            label_map(**wrong)


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        "010",
        "0o7",
        "1_000",
        "1:30",
        "1e3",
        "7.0",
        ".nan",
        ".inf",
        "2024-01-31",
        "2024-13-32",
        "0x" + 5000 * "f",
        "0b" + 20000 * "1",
        "1:" + "59:" * 20000 + "1",
        9999 * "7",
        '!!int ""',
        '!!float ""',
        "!!bool foo",
        "!!timestamp foo",
        "!!binary x",
        "!!set {a}",
        "!odd x",
        "~",
        "",
    ],
)
@pytest.mark.parametrize("text", ["ids: [{}]", "name: {}", "color: [1, 2, {}]"])
def test_odd_scalars_are_one_line_each(tmp_path, value, text):
    path = tmp_path / "map.yaml"
    entry = text.format(value)
    rest = "" if entry.startswith("name") else "name: a, "
    path.write_text(f"name: x\nclasses:\n  - {{{rest}{entry}}}\n")
    if text == "name: {}" and value in ("0o7", "1e3"):
        assert load_label_map(path).class_names == (value,)  # text, in YAML 1.1
        return
    if (text, value) == ("ids: [{}]", ""):
        assert load_label_map(path).classes[0].ids == ()
        return
    with pytest.raises(ConfigurationError, match=r"map\.yaml, line 3: ") as caught:
        load_label_map(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_cityscapes_instance_ids_are_scored_through_the_command(tmp_path, capsys):
    """Labels are ``id * 1000 + instance`` for things and ids for the rest, as 16-bit PNGs."""
    rng = np.random.default_rng(8)
    matrix = np.zeros((2, 2), np.int64)
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(12):
            truth, prediction = rng.integers(0, 2, (2, 20, 30))
            np.add.at(matrix, (truth, prediction), 1)
            values = np.where(truth == 0, 7, 26000 + rng.integers(0, 40, truth.shape))
            stamp_ns = index * 10**9 + 10**9
            writer.write_image("/p", stamp_ns, "camera", mono8(prediction))
            writer.write_image("/l", stamp_ns, "camera", png(values.astype(np.uint16)))
    text = "name: two\nclasses:\n  - {name: road, ids: [7]}\n  - {name: car, ids: [26]}\n"
    (tmp_path / "map.yaml").write_text(text + "id_divisor: 1000\nbelow_divisor: id\n")
    given = ["--prediction-topic", "/p", "--label-topic", "/l"]
    given += ["--labels", str(tmp_path / "map.yaml")]
    status = main(["evaluate", str(tmp_path / "bag"), *given])
    hit = np.diag(matrix)
    iou = hit / (matrix.sum(0) + matrix.sum(1) - hit)
    assert status == 0
    assert f"mIoU {iou.mean():.4f}" in capsys.readouterr().out
