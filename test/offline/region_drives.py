"""Drives and regions as users may have them, and what NumPy counts in them."""

from __future__ import annotations

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

SECOND = 1_000_000_000
FRAMES, HEIGHT, WIDTH, CLASSES, IGNORE = 12, 24, 32, 19, 255
PREDICTION, LABEL = "/prediction", "/camera/labels"
MARKUP = "<b>a/b</b> | [x](javascript:y) {{ 7*7 }} ../c"
REGIONS = f"""
regions:
  - {{name: bonnet, rows: [20, 24], ignore: true}}
  - {{name: "{MARKUP}", rows: [0.0, 0.5]}}
  - {{name: far, rows: [4, 14]}}
  - {{name: FAR, polygon: [[24, 12], [90, 12], [90, 90], [24, 90]]}}
  - {{name: beneath the bonnet, rows: [21, 23]}}
  - {{name: nothing so large, objects: large}}
  - {{name: lens, mask: lens.png}}
  - {{name: edges, border: 1}}
"""


def scene(number):
    """Return ground truth and prediction, both of which have blocks of a few classes."""
    rng = np.random.default_rng(number)
    truth = np.kron(rng.integers(0, 4, (6, 8)), np.ones((4, 4), int))
    guess = np.where(
        rng.random(truth.shape) < 0.3, rng.integers(0, CLASSES + 1, truth.shape), truth
    )
    truth[:2, :3] = IGNORE
    return truth.astype(np.uint8), guess.astype(np.uint8)


def lens():
    """Return the pixels of the mask."""
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (12, 10), 8, 255, -1)


def inside(truth):
    """Return where each region is in a frame whose bonnet is ignored."""
    y, x = np.indices(truth.shape)
    near = np.zeros(truth.shape, bool)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        around = np.pad(truth, 1, constant_values=IGNORE)
        around = around[1 + dy : HEIGHT + 1 + dy, 1 + dx : WIDTH + 1 + dx]
        near |= (around != truth) & (around != IGNORE)
    nothing = np.zeros(truth.shape, bool)
    return {
        MARKUP: y < 12,
        "far": (y >= 4) & (y < 14),
        "FAR": (x >= 24) & (y >= 12),
        "beneath the bonnet": (y >= 21) & (y < 23),
        "nothing so large": nothing,
        "lens": lens() > 0,
        "edges": near,
    }


def count(truth, prediction):
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    labelled = truth != IGNORE
    np.add.at(matrix, (truth[labelled], np.minimum(prediction[labelled], CLASSES)), 1)
    return matrix


def expected(numbers=range(FRAMES)):
    """Return the matrix of whole frames, and that of each region by its name."""
    whole, regions = count(*np.zeros((2, 1, 0), np.uint8)), {}
    for number in numbers:
        truth, prediction = scene(number)
        truth[20:] = IGNORE
        whole = whole + count(truth, prediction)
        for name, where in inside(truth).items():
            own = count(np.where(where, truth, IGNORE), prediction)
            regions[name] = regions.get(name, 0) + own
    return whole, regions


def write(path, numbers=range(FRAMES), *, step=1):
    """Write a bag with rosbags, every prediction coarser by `step`; returns its path."""
    store = get_typestore(Stores.ROS2_JAZZY)
    image = store.types["sensor_msgs/msg/Image"]
    header, time = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            topic: writer.add_connection(topic, image.__msgtype__, typestore=store)
            for topic in (PREDICTION, LABEL)
        }
        for number in numbers:
            truth, prediction = scene(number)
            for topic, ids in ((PREDICTION, prediction[::step, ::step]), (LABEL, truth)):
                stamp_ns = (100 + number) * SECOND
                stamp = header(time(*divmod(stamp_ns, SECOND)), "camera")
                pixels = np.ascontiguousarray(ids).ravel()
                message = image(stamp, *ids.shape, "mono8", 0, ids.shape[1], pixels)
                writer.write(
                    topics[topic], stamp_ns, store.serialize_cdr(message, image.__msgtype__)
                )
    return path


def write_regions(folder):
    """Write the regions file and its mask; returns its path."""
    cv2.imwrite(str(folder / "lens.png"), lens())
    (folder / "regions.yaml").write_text(REGIONS)
    return folder / "regions.yaml"
