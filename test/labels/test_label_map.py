"""Label maps say what their sources say, are looked up exactly, and complain precisely."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_files import raw_image

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.images.decoding import decode_labels
from deeplab_miou.labels.label_map import LabelMap, available_label_maps, load_label_map
from deeplab_miou.labels.raw_ids import RawIds

SHIPPED = {
    "ade20k150": 150,
    "camvid11": 11,
    "carla": 19,
    "carla_tags": 19,
    "cityscapes": 19,
    "cityscapes_train_ids": 19,
    "demo": 8,
    "pascal_voc21": 21,
}
CITYSCAPES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky "
    "person rider car truck bus train motorcycle bicycle"
)
# id to train id, from cityscapesscripts/helpers/labels.py
CITYSCAPES_IDS = dict(
    zip(
        [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33],
        range(19),
        strict=True,
    )
)


def make(**keys):
    return LabelMap.from_dict({"name": "m", **keys}, "test")


def small(**keys):
    """Make a map with ids beyond 8 bits, several ids a class, and more colours than classes."""
    classes = [
        {"name": "a", "color": [1, 2, 3], "ids": [7, 300]},
        {"name": "b", "color": [9, 9, 9], "colors": [[255, 0, 1], [1, 0, 255]], "ids": [65535]},
        {"name": "c", "color": [0, 0, 0], "colors": [], "ids": []},
    ]
    ignore = [{"name": "void", "color": [0, 0, 0], "ids": [0]}]
    return make(classes=classes, ignore=ignore, **keys)


def reference(label_map, raw):
    """Map ids one at a time."""
    table = {i: k for k, entry in enumerate(label_map.classes) for i in entry.ids}
    table |= {i: label_map.ignore_index for entry in label_map.ignored for i in entry.ids}
    ids = [table.get(int(value), label_map.ignore_index) for value in raw.flat]
    unmapped = sum(int(value) not in table for value in raw.flat)
    return np.array(ids, np.uint8).reshape(raw.shape), unmapped


def test_all_label_maps_ship():
    assert available_label_maps() == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_maps_survive_json(name):
    label_map = load_label_map(name)
    assert label_map.name == name
    assert label_map.num_classes == len(label_map.class_names) == SHIPPED[name]
    assert label_map.palette.shape == (SHIPPED[name], 3)
    again = LabelMap.from_dict(json.loads(json.dumps(label_map.to_dict())), "json")
    assert again == label_map
    assert hash(again) == hash(label_map)
    assert again != replace(label_map, unmapped="error")


@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - {"carla_tags"}))  # which reads no colours
def test_what_a_shipped_map_paints_it_can_read(name):
    label_map = load_label_map(name)
    ids = np.array([[i for i, entry in enumerate(label_map.classes) if entry.colors]], np.uint8)
    labels = label_map.map_colors(label_map.colorize(ids))
    np.testing.assert_array_equal(labels.ids, ids)
    assert labels.unmapped == 0


def test_cityscapes_is_the_benchmark():
    label_map = load_label_map("cityscapes")
    assert " ".join(name.replace(" ", "_") for name in label_map.class_names) == CITYSCAPES
    labels = label_map.map_ids(np.arange(34, dtype=np.uint8)[None])
    assert labels.ids[0].tolist() == [CITYSCAPES_IDS.get(i, 255) for i in range(34)]
    assert labels.unmapped == 0
    assert label_map.map_ids(np.array([[34, 255]], np.uint8)).unmapped == 2
    train_ids = load_label_map("cityscapes_train_ids")
    assert train_ids.class_names == label_map.class_names
    np.testing.assert_array_equal(train_ids.palette, label_map.palette)
    labels = train_ids.map_ids(np.array([[*range(19), 255]], np.uint8))
    assert labels.ids[0].tolist() == [*range(19), 255]
    assert labels.unmapped == 0


def test_carla_reads_tags_colours_and_raw_images_alike():
    label_map = load_label_map("carla")
    assert label_map.class_names == load_label_map("cityscapes").class_names
    tags = np.arange(30, dtype=np.uint8)[None]
    expected = [255, *range(19), 255, 255, 255, 255, 0, 255, 255, 255, 255, 255]
    labels = label_map.map_ids(tags)
    assert labels.ids[0].tolist() == expected
    assert labels.unmapped == 0
    raw = np.zeros((1, 30, 4), np.uint8)
    raw[..., 2] = tags
    raw[..., 3] = 255
    labels = label_map.map_colors(raw, bgr=True)
    assert labels.ids[0].tolist() == expected
    assert labels.unmapped == 0
    line = np.array([[[157, 234, 50], [45, 60, 150], [250, 170, 30]]], np.uint8)
    assert label_map.map_colors(line).ids.tolist() == [[0, 255, 6]]


@pytest.mark.parametrize("camera", ["semantic", "instance"])
def test_carla_tags_reads_what_carlas_own_cameras_send(camera):
    label_map, palette = load_label_map("carla_tags"), load_label_map("carla")
    assert label_map.class_names == palette.class_names
    np.testing.assert_array_equal(label_map.palette, palette.palette)
    raw = np.zeros((2, 30, 4), np.uint8)
    raw[..., 2] = np.arange(30)
    raw[..., 3] = 255
    if camera == "instance":
        raw[..., :2] = np.random.default_rng(0).integers(0, 256, (2, 30, 2))
    message = raw_image(raw, "bgra8")
    labels = decode_labels(message, label_map)
    tags = np.arange(30, dtype=np.uint8)[None]
    np.testing.assert_array_equal(labels.ids, np.repeat(palette.map_ids(tags).ids, 2, axis=0))
    assert labels.unmapped == 0


@pytest.mark.parametrize(
    ("camera", "channel"), [("semantic", "red"), ("semantic", "blue"), ("instance", "blue")]
)
def test_what_gazebos_segmentation_camera_sends_is_read(camera, channel):
    """Its labels_map is rgb8: the label in all channels, or in the last beside a count."""
    classes = [{"name": "box", "color": [9, 9, 9], "ids": [10]}, {"name": "sphere", "ids": [20]}]
    classes[1]["color"] = [7, 7, 7]
    given = {"name": "gazebo", "id_channel": channel, "classes": classes, "ignore": [{"ids": [0]}]}
    label_map = LabelMap.from_dict(given, "test")
    raw = np.repeat(np.array([[0, 10, 20, 30]], np.uint8)[..., None], 3, axis=2)
    if camera == "instance":
        raw[..., :2] = [[[0, 0], [1, 2], [0, 3], [9, 9]]]
    message = raw_image(raw, "rgb8")
    labels = decode_labels(message, label_map)
    assert labels.ids.tolist() == [[255, 0, 1, 255]]
    assert labels.unmapped == 1


def test_what_isaac_sims_camera_helper_sends_is_read():
    """Its semantic_segmentation is 32SC1; ids are given out at run time, 0 and 1 are no class."""
    classes = [{"name": "floor", "ids": [2]}, {"name": "rack", "ids": [5, 300]}]
    given = {"name": "isaac", "classes": classes, "ignore": [{"ids": [0, 1]}]}
    raw = np.array([[0, 1, 2, 5, 300, 7, -1]], np.int32)
    message = raw_image(raw, "32SC1")
    labels = decode_labels(message, LabelMap.from_dict(given, "test"))
    assert labels.ids.tolist() == [[255, 255, 0, 1, 1, 255, 255]]
    assert labels.unmapped == 2


def test_an_unknown_id_in_a_channel_is_an_error_when_asked_for():
    classes = [{"name": "box", "ids": [10]}]
    given = {"name": "x", "id_channel": "green", "unmapped": "error", "classes": classes}
    rgb = np.array([[[0, 10, 0], [10, 9, 10]]], np.uint8)
    with pytest.raises(FrameError, match=r"raw id 9 \(1 pixel\)"):
        LabelMap.from_dict(given, "test").map_colors(rgb)


def test_demo_is_eight_classes_of_cityscapes():
    label_map = load_label_map("demo")
    assert " ".join(label_map.class_names) == (
        "road sidewalk building pole vegetation sky person car"
    )
    kept = {0: 0, 1: 1, 2: 2, 5: 3, 8: 4, 10: 5, 11: 6, 13: 7}
    labels = label_map.map_ids(np.array([[*range(19), 255]], np.uint8))
    assert labels.ids[0].tolist() == [kept.get(i, 255) for i in [*range(19), 255]]
    assert labels.unmapped == 0


def test_pascal_voc_has_the_palette_of_its_development_kit():
    label_map = load_label_map("pascal_voc21")
    assert label_map.palette[[0, 1, 15, 20]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [192, 128, 128],
        [0, 64, 128],
    ]
    assert label_map.class_names[15] == "person"
    assert label_map.map_ids(np.array([[20, 255]], np.uint8)).ids.tolist() == [[20, 255]]
    border = label_map.map_colors(np.array([[[224, 224, 192]]], np.uint8))
    assert (border.ids.tolist(), border.unmapped) == ([[255]], 0)


def test_ade20k_starts_at_one_and_camvid_ends_with_unlabelled():
    ade = load_label_map("ade20k150")
    labels = ade.map_ids(np.array([[0, 1, 7, 150, 151]], np.uint8))
    assert (labels.ids.tolist(), labels.unmapped) == ([[255, 0, 6, 149, 255]], 1)
    assert (ade.class_names[0], ade.class_names[6], ade.class_names[149]) == (
        "wall",
        "road",
        "flag",
    )
    gray = ade.map_colors(np.array([[[140, 140, 140]]], np.uint8))
    assert gray.unmapped == 1, "road and skyscraper share a colour: neither may be guessed"
    camvid = load_label_map("camvid11")
    labels = camvid.map_ids(np.arange(13, dtype=np.uint8)[None])
    assert (labels.ids[0].tolist(), labels.unmapped) == ([*range(11), 255, 255], 1)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    raw=st.sampled_from([np.uint8, np.uint16, np.int32]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.tuples(st.integers(1, 9), st.integers(1, 9)),
            elements=st.sampled_from([0, 7, 44, 8])
            if dtype == np.uint8
            else st.sampled_from([0, 7, 300, 65535, 65534]) | hnp.from_dtype(np.dtype(dtype)),
        )
    ),
    unmapped_first=st.booleans(),
)
def test_ids_map_as_one_at_a_time(raw, unmapped_first):
    label_map = small(ignore_index=3 if unmapped_first else 255)
    before = raw.copy()
    raw.flags.writeable = False
    labels = label_map.map_ids(raw)
    expected, unmapped = reference(label_map, raw)
    np.testing.assert_array_equal(labels.ids, expected)
    assert labels.ids.dtype == np.uint8
    assert labels.unmapped == unmapped
    np.testing.assert_array_equal(raw, before)
    assert not np.shares_memory(raw, labels.ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_wide_images_map_in_blocks_and_with_any_strides(dtype):
    rng = np.random.default_rng(1)
    raw = rng.choice(np.array([0, 7, 99], dtype), (257, 700))
    expected = np.select([raw == 7, raw == 0], [0, 255], 255)
    for view, wanted in ((raw, expected), (raw[::-2, 3:-1:3], expected[::-2, 3:-1:3])):
        labels = small().map_ids(view)
        np.testing.assert_array_equal(labels.ids, wanted)
        assert labels.unmapped == np.count_nonzero(view == 99)


@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_map_exactly(channels, bgr):
    rng = np.random.default_rng(2)
    meaning = {
        (1, 2, 3): 0,
        (255, 0, 1): 1,
        (1, 0, 255): 1,
        (0, 0, 0): 255,
        (9, 9, 9): None,  # painted with, but not among its colours
        (3, 2, 1): None,
        (1, 2, 4): None,
        (255, 255, 255): None,
    }
    picks = rng.integers(0, len(meaning), (130, 600))
    pixels = np.array(list(meaning), np.uint8)[picks]
    values = list(meaning.values())
    expected = np.array([255 if v is None else v for v in values])[picks]
    unmapped = int(np.count_nonzero(np.array([v is None for v in values])[picks]))
    if bgr:
        pixels = pixels[..., ::-1]
    if channels == 4:
        pixels = np.dstack([pixels, rng.integers(0, 256, picks.shape, np.uint8)])
    for view in (pixels, np.ascontiguousarray(pixels)):
        labels = small().map_colors(view, bgr=bgr)
        np.testing.assert_array_equal(labels.ids, expected)
        assert labels.unmapped == unmapped


def test_255_classes_leave_room_for_unknown_pixels():
    label_map = make(
        classes=[{"name": f"c{i}", "color": [i, 0, 0]} for i in range(255)],
        ignore=[{"color": [255, 0, 0], "ids": [255]}],
    )
    ids = np.arange(256, dtype=np.uint8)[None]
    labels = label_map.map_ids(ids)
    np.testing.assert_array_equal(labels.ids, ids)
    assert (labels.unmapped, labels.ids.dtype) == (0, np.uint8)
    colors = np.zeros((1, 257, 3), np.uint8)
    colors[0, :256, 0] = ids
    colors[0, 256] = 1
    labels = label_map.map_colors(colors)
    assert (labels.ids[0].tolist(), labels.unmapped) == ([*range(256), 255], 1)
    assert label_map.map_ids(np.array([[256]], np.uint16)).unmapped == 1


def test_unknown_values_are_an_error_when_asked_for():
    strict = small(unmapped="error")
    raw = np.array([[77, 7, 77], [0, 5, 6], [8, 77, 7]], np.int32)
    with pytest.raises(
        FrameError, match=r"label map m .* raw id 77 \(3 pixels\), .* \(1 pixel\).* and 1 more:"
    ) as caught:
        strict.map_ids(raw)
    assert caught.value.reason == Reason.UNKNOWN_LABEL
    pixels = np.array([[[1, 2, 3], [8, 8, 7]]], np.uint8)
    with pytest.raises(FrameError, match=r"colour \[8, 8, 7\] \(1 pixel\): "):
        strict.map_colors(pixels)
    with pytest.raises(FrameError, match=r"colour \[8, 8, 7\] \(1 pixel\): "):
        strict.map_colors(pixels[..., ::-1], bgr=True)
    assert strict.map_ids(np.array([[7, 0]], np.uint8)).unmapped == 0


def test_painting_is_black_where_nothing_is_scored():
    painted = small().colorize(np.array([[0, 1, 2, 3, 255]], np.uint8))
    assert painted.tolist() == [[[1, 2, 3], [9, 9, 9], [0, 0, 0], [0, 0, 0], [0, 0, 0]]]
    assert small().colorize(np.zeros((0, 4), np.uint8)).shape == (0, 4, 3)
    assert small().map_ids(np.zeros((0, 4), np.uint8)).ids.shape == (0, 4)


def test_a_map_without_colours_gets_a_palette_but_reads_no_colours():
    label_map = make(classes=[{"name": f"c{i}"} for i in range(255)])
    assert len({tuple(color) for color in label_map.palette.tolist()}) == 255
    assert not label_map.palette.any(axis=1).sum() < 255, "black is for what is not scored"
    with pytest.raises(FrameError, match="has none") as caught:
        label_map.map_colors(np.zeros((1, 1, 3), np.uint8))
    assert caught.value.reason == Reason.BAD_ENCODING


def test_wrong_arrays_are_the_callers_mistake():
    for raw in (np.zeros((2, 2), np.int64), np.zeros((2, 2, 1), np.uint8)):
        with pytest.raises(TypeError, match="expected raw ids"):
            small().map_ids(raw)
    for rgb in (np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.int16)):
        with pytest.raises(TypeError, match="expected colours"):
            small().map_colors(rgb)


def test_threads_may_share_a_map():
    label_map = small()
    raw = np.tile(np.array([7, 0, 9], np.uint8), (64, 64))
    rgb = np.tile(np.array([[1, 2, 3], [0, 0, 0], [9, 9, 9]], np.uint8), (64, 64, 1))
    with ThreadPoolExecutor(8) as pool:
        by_id = list(pool.map(lambda _: label_map.map_ids(raw).unmapped, range(32)))
        by_color = list(pool.map(lambda _: label_map.map_colors(rgb).unmapped, range(32)))
    assert set(by_id + by_color) == {64 * 64}


GOOD = """\
unmapped: ignore
classes:
  - {name: road, color: [1, 2, 3], ids: [7]}
  - name: car
    color: [4, 5, 6]
    ids: [8, 9]
ignore:
  - {ids: [0]}
"""


def test_a_file_of_ones_own_is_named_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    for name in (path, str(path)):
        label_map = load_label_map(name)
        assert label_map.name == "mine"
        assert label_map.class_names == ("road", "car")
        assert label_map.map_ids(np.array([[9, 7, 0, 5]], np.uint8)).ids.tolist() == [
            [1, 0, 255, 255]
        ]


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ("unmapped: ignore", "unmapped: maybe", 1, "unmapped is 'maybe'"),
        ("unmapped: ignore", "unmaped: ignore", 1, "unmaped is not a key here"),
        ("unmapped: ignore", "unmapped: [1]", 1, r"unmapped is \[1\]"),
        ("unmapped: ignore", "ignore_index: 1", 1, "ignore_index is 1, .*'car'"),
        ("unmapped: ignore", "ignore_index: 256", 1, "ignore_index is 256"),
        ("unmapped: ignore", "name: 5", 1, "name is 5, expected text"),
        ("unmapped: ignore", 'name: ""', 1, "name is empty"),
        ("unmapped: ignore", 'name: "a\\nb"', 1, "name is .* one line"),
        ("unmapped: ignore", "unmapped: ignore\nunmapped: error", 2, "unmapped is given twice"),
        ("unmapped: ignore", "? [a]\n: b", 1, "a key must be a word"),
        ("unmapped: ignore", "description: 2001-99-99", 1, "description is 2001-99-99, exp"),
        ("unmapped: ignore", "description: !!python/name:os.system x", 1, "description is x"),
        ("unmapped: ignore", "id_channel: alpha", 1, "id_channel is 'alpha', expected one of: red"),
        ("name: road, ", "", 3, r"classes\[0\] has no name"),
        ("name: road", "name: ' '", 3, r"classes\[0\].name is empty"),
        ("name: road", "name: no", 3, r"classes\[0\].name is no, expected text"),
        ("name: road", "name: car", 4, r"classes\[1\].name 'car' is the name of classes\[0\]"),
        ("name: road", "name: road, name: r", 3, r"classes\[0\].name is given twice"),
        ("ids: [7]", "id: [7]", 3, r"classes\[0\].id is not a key here; known: name, color"),
        (", ids: [7]", "", 3, r"classes\[0\] has no ids"),
        ("    color: [4, 5, 6]\n", "", 4, r"classes\[1\] has no color"),
        ("ids: [7]", "ids: 7", 3, r"classes\[0\].ids is 7, expected a list"),
        ("[8, 9]", "[8, 65536]", 6, r"classes\[1\].ids\[1\] is 65536"),
        ("[8, 9]", "[8, -1]", 6, r"classes\[1\].ids\[1\] is -1"),
        ("[8, 9]", "[8, true]", 6, r"classes\[1\].ids\[1\] is true"),
        ("[8, 9]", "[8, 1.0]", 6, r"classes\[1\].ids\[1\] is 1.0"),
        ("[8, 9]", "[8, 8]", 6, r"classes\[1\].ids\[1\] is 8, .*classes\[1\].ids\[0\]"),
        ("[8, 9]", "[8, 7]", 6, r"classes\[1\].ids\[1\] is 7, .*classes\[0\].ids\[0\]"),
        ("ids: [0]", "ids: [9]", 8, r"ignore\[0\].ids\[0\] is 9, .*classes\[1\].ids\[1\]"),
        ("[4, 5, 6]", "[1, 2, 3]", 5, r"classes\[1\].color is \(1, 2, 3\), .*classes\[0\].color"),
        ("[4, 5, 6]", "[4, 5]", 5, r"classes\[1\].color is \[4, 5\], expected \[red"),
        ("[4, 5, 6]", "[4, 5, 256]", 5, r"classes\[1\].color is"),
        ("[4, 5, 6]", "[4, 5, 6.0]", 5, r"classes\[1\].color is"),
        ("[4, 5, 6]", "red", 5, r"classes\[1\].color is 'red'"),
        ("ids: [0]", "colors: [[4, 5, 6]]", 8, r"ignore\[0\].colors\[0\] is \(4, 5, 6\)"),
        ("ids: [0]", "colors: [4, 5, 6]", 8, r"ignore\[0\].colors\[0\] is 4"),
        ("- {ids: [0]}", "- 5", 8, r"ignore\[0\] is 5, expected keys"),
        ("- {ids: [0]}", "- {}", 8, r"ignore\[0\] is empty, expected keys"),
        ("  - {ids: [0]}", "  5", 7, "ignore is 5, expected a list"),
        ("[8, 9]", "[8, 9", 7, "expected ',' or ']'"),
        ("[8, 9]", "&x [8, *x]", 6, "aliases"),
        ("[8, 9]", "[8, *y]", 6, "aliases"),
    ],
)
def test_mistakes_are_named_by_file_line_and_key(tmp_path, old, new, line, key):
    assert GOOD.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError, match=rf"mine.yaml, line {line}: {key}") as caught:
        load_label_map(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty, expected keys and values: name"),
        (b"# nothing\n", "the file is empty"),
        (b"- 1\n", r"line 1: the file is \[1\], expected keys"),
        (b"road", "line 1: the file is 'road', expected keys"),
        (b"name: x\n", "line 1: the file has no classes"),
        (b"classes: []\n", r"line 1: classes has 0 entries, expected 1 to 255"),
        (b"a: 1\n---\nb: 2\n", "line 2: but found another document"),
        (b"\xff\xfe\x00", r"mine.yaml, byte [0-9]: not UTF-8: save it as UTF-8"),
        (b"name: \x00\n", "mine.yaml"),
        (b"a: " + 5000 * b"[", "nested too deeply"),
        (b"#" * (1 << 20) + b"\n", "larger than 1048576 bytes"),
    ],
)
def test_files_that_are_no_label_map_are_refused(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_label_map(path)
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_more_classes_than_train_ids_are_refused():
    with pytest.raises(ConfigurationError, match="test: classes has 256 entries"):
        make(classes=[{"name": f"c{i}"} for i in range(256)])


def test_dictionaries_are_checked_like_files():
    with pytest.raises(ConfigurationError, match=r"label map net.safetensors: classes\[0\].ids"):
        LabelMap.from_dict(
            {"name": "x", "classes": [{"name": "a", "ids": [-1]}]}, "net.safetensors"
        )
    with pytest.raises(ConfigurationError, match="classes is 5, expected a list"):
        make(classes=5)
    with pytest.raises(ConfigurationError, match="5 is not a key here"):
        LabelMap.from_dict({5: 1}, "x")


def test_a_name_that_is_nothing_lists_what_there_is(tmp_path):
    with pytest.raises(ConfigurationError, match=r"citscapes .* one of: ade20k150, camvid11, "):
        load_label_map("citscapes")
    with pytest.raises(ConfigurationError, match="neither a file nor"):
        load_label_map(tmp_path)


def test_an_unreadable_file_says_why(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(ConfigurationError, match=r"mine\.yaml cannot be read: Permission denied"):
        load_label_map(path)


@pytest.mark.parametrize("count", [1, 2, 19, 127, 128, 129, 254])
@pytest.mark.parametrize("width", [8, 13])
def test_train_ids_are_checked_in_place(count, width):
    label_map = make(classes=[{"name": f"c{i}"} for i in range(count)])
    known = np.full((3, width), 255, np.uint8)
    known[1:] = count - 1
    found = label_map.map_ids(known)
    np.testing.assert_array_equal(found.ids, known)
    assert found.unmapped == 0
    assert np.shares_memory(found.ids, known) == (count <= 128)
    for place in (0, known.size - 1):
        for value in range(256):
            raw = known.copy()
            raw.flat[place] = value
            found = label_map.map_ids(raw)
            assert found.unmapped == (count <= value < 255)
            assert found.ids.flat[place] == (value if value < count else 255)


def test_unknown_values_are_named_most_frequent_first():
    known = LabelMap.from_dict(
        {
            "name": "x",
            "classes": [{"name": "road", "color": [9, 8, 7], "ids": [3]}],
            "ignore": [{"name": "void", "color": [0, 0, 0], "ids": [0]}],
        },
        "x",
    )
    ids = np.array([[3, 0, 5, 5, 6]], np.int32)
    assert known.unknown_ids(ids) == "raw id 5 (2 pixels), raw id 6 (1 pixel)"
    assert known.unknown_ids(ids[:, :2]) == ""
    bgr = np.array([[[7, 8, 9], [0, 0, 0], [1, 2, 3]]], np.uint8)
    assert known.unknown_colors(bgr, bgr=True) == "colour [3, 2, 1] (1 pixel)"
    assert known.unknown_colors(bgr[:, :2], bgr=True) == ""
    in_red = replace(known, raw_ids=RawIds(id_channel="red"))
    assert in_red.unknown_colors(bgr, bgr=True) == "raw id 9 (1 pixel)"
