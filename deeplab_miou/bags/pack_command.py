"""``deeplab-miou pack``: folders of image and label files into a bag."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeplab_miou.defaults import IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPILOG = """An image and a label belong together if their paths below IMAGES and LABELS are
equal up to the suffixes. Files are packed as they are, as CompressedImage, images without a label
too.

examples:
  deeplab-miou pack camvid/images camvid/labels camvid_bag
  deeplab-miou pack leftImg8bit/val gtFine/val cityscapes_val \\
      --image-suffix _leftImg8bit.png --label-suffix _gtFine_labelIds.png
"""
_ENDINGS = (".png", ".jpg", ".jpeg")
_NS = 1_000_000_000


def add_parser(subparsers: Any, **texts: str) -> None:  # noqa: ANN401  (argparse hides its type)
    """Add the subcommand.

    Args:
        subparsers: what ``add_subparsers`` returned.
        texts: help and description.
    """
    parser = subparsers.add_parser(
        "pack", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **texts
    )
    add = parser.add_argument
    add("images", type=Path, metavar="IMAGES", help="folder of PNG or JPEG images")
    add("labels", type=Path, metavar="LABELS", help="folder of PNG label images")
    add("bag", type=Path, metavar="BAG", help="folder to write the rosbag2 to; must not exist")
    add("--image-suffix", default="", metavar="END", help="how image names end (default: any)")
    add("--label-suffix", default="", metavar="END", help="how label names end (default: any)")
    add("--rate", type=_rate, default=10.0, metavar="HZ", help="images a second (default: 10)")
    add("--image-topic", default=IMAGE_TOPIC, metavar="TOPIC", help="default: %(default)s")
    add("--label-topic", default=LABEL_TOPIC, metavar="TOPIC", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the bag.

    Raises:
        ConfigurationError: a folder or file cannot be read, or nothing belongs together.
        BagError: the bag cannot be written.
    """
    from deeplab_miou.bags.writer import BagWriter  # noqa: PLC0415  (--help needs none of these)
    from deeplab_miou.images.messages import CompressedImage  # noqa: PLC0415

    images = _files(arguments.images, arguments.image_suffix)
    labels = _files(arguments.labels, arguments.label_suffix)
    _check(arguments, images, labels)
    with BagWriter(arguments.bag) as writer:
        for index, (key, path) in enumerate(sorted(images.items()), 1):
            stamp_ns = round(index / arguments.rate * _NS)
            files = [(arguments.image_topic, path)]
            if key in labels:
                files.append((arguments.label_topic, labels[key]))
            for topic, file in files:
                kind = "png" if file.suffix.lower() == ".png" else "jpeg"
                message = CompressedImage(kind, _read(file))
                writer.write_image(topic, stamp_ns, "camera", message)
    paired = len(images.keys() & labels.keys())
    sys.stdout.write(
        f"packed {len(images)} images, {paired} of them with a label, to {arguments.bag}\n"
    )
    return 0


def _check(
    arguments: argparse.Namespace, images: Mapping[str, Path], labels: Mapping[str, Path]
) -> None:
    lossy = [path for path in labels.values() if path.suffix.lower() != ".png"]
    if lossy:
        raise ConfigurationError(
            f"label {str(lossy[0])!r} is a JPEG, which changes ids and colours: give PNG files"
        )
    strays = sorted(labels.keys() - images.keys())
    if len(strays) == len(labels):
        raise ConfigurationError(
            f"no label is named like an image: there are image {min(images)!r} and label "
            f"{strays[0]!r}; what differs at the end goes into --image-suffix and --label-suffix"
        )
    if strays:
        raise ConfigurationError(
            f"{len(strays)} of {len(labels)} labels have no image, the first is {strays[0]!r}: add "
            f"it to {arguments.images} or remove the label"
        )


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """Return the image files below a folder by their path up to the suffix."""
    if not folder.is_dir():
        raise ConfigurationError(f"folder {str(folder)!r} does not exist")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not path.name.endswith(suffix) or path.suffix.lower() not in _ENDINGS:
            continue
        ending = suffix or path.suffix
        key = path.relative_to(folder).as_posix().removesuffix(ending)
        if key in found:
            raise ConfigurationError(
                f"files {str(found[key])!r} and {str(path)!r} have the same name: give the suffix "
                "of those that are meant"
            )
        found[key] = path
    if not found:
        ending = suffix or ", ".join(_ENDINGS)
        raise ConfigurationError(f"folder {str(folder)!r} holds no file that ends in {ending}")
    return found


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
        raise argparse.ArgumentTypeError(f"expected images a second, above 0, got {text}")
    return value
