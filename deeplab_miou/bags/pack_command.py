"""``deeplab-miou pack``: turns folders of image and label files into a bag."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.bags.file_pairs import find_files, in_natural_order
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.scoring import TopicOptions
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.bags.file_pairs import Key

_EPILOG = """Without patterns, an image and a label form a pair if their paths below IMAGES and
LABELS are equal except for the suffixes. With patterns, they form a pair if the wildcards match the
same text: * and ? match characters within a name, ** also matches folders. A suffix is short for
the pattern **SUFFIX. Files are packed unchanged, as CompressedImage, in the natural order of their
names (2 before 10), including images without a label.

examples:
  Mapillary, KITTI    deeplab-miou pack images labels bag
  Cityscapes          deeplab-miou pack leftImg8bit/val gtFine/val bag \\
                          --image-suffix _leftImg8bit.png --label-suffix _gtFine_labelIds.png
  CamVid              deeplab-miou pack images labels bag --label-suffix _L.png
  KITTI road          deeplab-miou pack image_2 gt_image_2 bag \\
                          --image-pattern '*_*.png' --label-pattern '*_road_*.png'
  A2D2                deeplab-miou pack a2d2 a2d2 bag \\
                          --image-pattern '*/camera/*/*_camera_*.png' \\
                          --label-pattern '*/label/*/*_label_*.png'
  Virtual KITTI 2     deeplab-miou pack rgb classSegmentation bag \\
                          --image-pattern '**/rgb/*/rgb_*.jpg' \\
                          --label-pattern '**/classSegmentation/*/classgt_*.png'
  RELLIS-3D           deeplab-miou pack Rellis-3D Rellis-3D bag \\
                          --image-pattern '*/pylon_camera_node/*.jpg' \\
                          --label-pattern '*/pylon_camera_node_label_id/*.png'
  UAVid               deeplab-miou pack val val bag \\
                          --image-pattern '*/Images/*.png' --label-pattern '*/Labels/*.png'
"""
_NS = 1_000_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("images", type=Path, metavar="IMAGES", help="folder of PNG or JPEG images")
    add("labels", type=Path, metavar="LABELS", help="folder of PNG label images")
    add("bag", type=Path, metavar="BAG", help="folder to write the rosbag2 to; must not exist")
    for side in ("image", "label"):
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            f"--{side}-suffix", default="", metavar="END", help=f"suffix of the {side} file names"
        )
        which.add_argument(
            f"--{side}-pattern", default="", metavar="GLOB", help=f"pattern for the {side} paths"
        )
    add(
        "--rate",
        type=_rate,
        default=10.0,
        metavar="HZ",
        help="images per second (default: 10); use 1 if the images are not a video, so that the "
        "confidence interval treats them as independent",
    )
    add_arguments(parser, TopicOptions, leave_out=("depth_topic",))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the bag.

    Raises:
        ConfigurationError: a folder or file cannot be read, or nothing belongs together.
        BagError: the bag cannot be written.
    """
    from deeplab_miou.bags.writer import BagWriter  # noqa: PLC0415  (--help needs none of these)
    from deeplab_miou.images.messages import CompressedImage  # noqa: PLC0415
    from deeplab_miou.metric.blocks import MIN_BLOCKS  # noqa: PLC0415

    image_pattern = arguments.image_pattern or _ending(arguments.image_suffix)
    label_pattern = arguments.label_pattern or _ending(arguments.label_suffix)
    images = find_files(arguments.images, image_pattern)
    labels = find_files(arguments.labels, label_pattern)
    _check(arguments, images, labels)
    with BagWriter(arguments.bag) as writer:
        for index, key in enumerate(in_natural_order(set(images)), 1):
            stamp_ns = round(index / arguments.rate * _NS)
            files = [(arguments.image_topic, images[key])]
            if key in labels:
                files.append((arguments.label_topic, labels[key]))
            for topic, file in files:
                kind = "png" if file.suffix.lower() == ".png" else "jpeg"
                message = CompressedImage(kind, _read(file))
                writer.write_image(topic, stamp_ns, "camera", message)
    paired = len(images.keys() & labels.keys())
    packed = f"{plural(len(images), 'image')}, {paired} of them with a label"
    sys.stdout.write(f"packed {packed}, to {arguments.bag}\n")
    seconds = len(images) / arguments.rate
    if seconds < MIN_BLOCKS <= paired:
        sys.stdout.write(
            f"they last {seconds:g} s at {arguments.rate:g} Hz, but an interval needs {MIN_BLOCKS} "
            "blocks of 1 s: if they are independent images rather than a video, use --rate 1\n"
        )
    return 0


def _ending(suffix: str) -> str:
    return f"**{suffix}" if suffix else ""


def _check(
    arguments: argparse.Namespace, images: Mapping[Key, Path], labels: Mapping[Key, Path]
) -> None:
    if _resolved(images) & _resolved(labels):
        raise ConfigurationError(
            f"the same files of folder {str(arguments.images)!r} would be images and labels: give "
            "the folder of the labels, or --image-pattern and --label-pattern"
        )
    lossy = [path for path in labels.values() if path.suffix.lower() != ".png"]
    if lossy:
        raise ConfigurationError(
            f"label {str(lossy[0])!r} is a JPEG, which changes ids and colours: give PNG files"
        )
    strays = in_natural_order(set(labels) - set(images))
    if len(strays) == len(labels):
        image, label = next(iter(images.values())), labels[strays[0]]
        raise ConfigurationError(
            f"no label is named like an image: for instance, there are image {str(image)!r} and "
            f"label {str(label)!r}; describe a difference at the end with --image-suffix and "
            "--label-suffix, any other with --image-pattern and --label-pattern"
        )
    if strays:
        raise ConfigurationError(
            f"{len(strays)} of {len(labels)} labels have no image, the first is "
            f"{str(labels[strays[0]])!r}: add its image to {arguments.images} or remove the label"
        )


def _resolved(files: Mapping[Key, Path]) -> set[Path]:
    return {path.resolve() for path in files.values()}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"expected images per second, above 0, got {text}")
    return value
