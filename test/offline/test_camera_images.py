"""However a camera's image is stored, the network sees the same: through the command, to counts."""

from __future__ import annotations

import json
import struct

import cv2
import numpy as np
import pytest
from image_files import raw_image

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.cli import main
from deeplab_miou.images.messages import CompressedImage
from deeplab_miou.labels.label_map import load_label_map

SIZE = (96, 128)
IDS = np.array([entry.ids[0] for entry in load_label_map("demo").classes], np.uint8)


def scenes():
    rng = np.random.default_rng(6)
    for _ in range(3):
        blocks = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        yield cv2.resize(blocks, SIZE[::-1]), IDS[rng.integers(0, 8, SIZE)]


def uyvy(rgb):
    """Return an image as cameras store it, and what it is again in RGB."""
    if not hasattr(cv2, "COLOR_RGB2YUV_UYVY"):
        pytest.skip("this OpenCV cannot make UYVY")
    stored = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_UYVY)
    return raw_image(stored, "yuv422"), cv2.cvtColor(stored, cv2.COLOR_YUV2RGB_UYVY)


def bayer16(rgb):
    mosaic = np.empty(SIZE, np.uint16)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = rgb[y::2, x::2, channel].astype(np.uint16) * 257
    # OpenCV names a pattern by its second row and column.
    again = cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB)
    return raw_image(mosaic, "bayer_rggb16"), np.rint(again / 257).astype(np.uint8)


def held_sideways(rgb):
    """Return a JPEG whose EXIF data say that it is to be turned clockwise."""
    lying = np.rot90(rgb)[..., ::-1]
    data = cv2.imencode(".jpg", lying)[1].tobytes()
    entry = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    told = b"Exif\0\0II" + struct.pack("<HIH", 42, 8, 1) + entry + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(told) + 2) + told
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return CompressedImage("jpeg", data[:2] + segment + data[2:]), np.rot90(plain, -1)[..., ::-1]


def confusion(bag, capsys, frames):
    with BagWriter(bag) as writer:
        for second, (image, labels) in enumerate(frames, 1):
            writer.write_image("/camera/image", second * 10**9, "camera", image)
            writer.write_image(
                "/camera/labels", second * 10**9, "camera", raw_image(labels, "mono8")
            )
    assert main(["evaluate", str(bag), "--checkpoint", "demo", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == 3
    return report["confusion"]


@pytest.mark.parametrize("store", [uyvy, bayer16, held_sideways])
def test_the_network_sees_the_same_image(tmp_path, capsys, store):
    stored = [(*store(rgb), labels) for rgb, labels in scenes()]
    by_camera = confusion(tmp_path / "a", capsys, [(image, labels) for image, _, labels in stored])
    plain = [(raw_image(rgb, "rgb8"), labels) for _, rgb, labels in stored]
    assert by_camera == confusion(tmp_path / "b", capsys, plain)
    truth = np.concatenate([labels for _, labels in scenes()])
    assert np.sum(by_camera, axis=1).tolist() == [np.count_nonzero(truth == each) for each in IDS]
