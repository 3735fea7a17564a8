"""The tags of a bag, from a file of times or from a topic of it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.errors import BagError
from deeplab_miou.paths import user_path
from deeplab_miou.tags.file_format import read_tag_file
from deeplab_miou.tags.messages import TAG_TYPES, read_tag
from deeplab_miou.tags.timeline import SAME_CLOCK_NS, TagTimeline
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.offline.stamps import Stamps
    from deeplab_miou.options.offline import OfflineOptions


def read_tags(options: OfflineOptions, reader: BagReader, stamps: Stamps) -> TagTimeline | None:
    """Return the tags of a bag, None where none are asked for.

    A message on a topic has no stamp: its tag is in force from the time when it was recorded. If
    images are stamped by another clock than the recorder's, from the first image after it.

    Args:
        options: where they are.
        reader: the open bag.
        stamps: of its images and labels.

    Raises:
        ConfigurationError: the file is malformed, or the topic is not there or of another type.
    """
    if not options.tags and not options.tags_topic:
        return None
    is_image = stamps.topic == stamps.topics.index(options.input_topic)
    is_stamped = is_image & stamps.is_readable & (stamps.stamps_ns != 0)
    stamps_ns, recorded_ns = stamps.stamps_ns[is_stamped], stamps.recorded_ns[is_stamped]
    if options.tags:
        first_ns = int(stamps_ns.min()) if stamps_ns.size else 0
        path = Path(options.bag)
        names = {options.bag, str(path), path.name, path.stem, path.resolve().name}
        return read_tag_file(options.tags).timeline(names, first_ns)
    reader.require(options.tags_topic, TAG_TYPES)
    return _of_topic(reader, options.tags_topic, stamps_ns, recorded_ns)


def _of_topic(
    reader: BagReader, topic: str, stamps_ns: NDArray[np.int64], recorded_ns: NDArray[np.int64]
) -> TagTimeline:
    timeline = TagTimeline()
    differs = bool(stamps_ns.size) and bool(
        abs(float(np.median((recorded_ns - stamps_ns).astype(np.float64)))) > SAME_CLOCK_NS
    )
    order = np.argsort(recorded_ns, kind="stable")
    recorded_ns, stamps_ns = recorded_ns[order], stamps_ns[order]
    unreadable = 0
    # What is damaged is told when the images are read.
    with suppress(BagError):
        for message in reader.messages([topic]):
            try:
                key, name = read_tag(message.data, message.type)
            except ValueError:
                unreadable += 1
                continue
            time_ns = message.timestamp_ns
            if differs:
                place = int(np.searchsorted(recorded_ns, time_ns))
                if place == recorded_ns.size:
                    continue
                time_ns = int(stamps_ns[place])
            timeline.add(key, name, time_ns)
    if differs:
        timeline.doubt(
            "images are stamped by another clock than the recorder's, so each tag applies from the "
            "first image that was recorded after it"
        )
    if unreadable:
        timeline.doubt(f"{plural(unreadable, 'message')} on {topic} could not be read")
    return timeline


def tags_digest(options: OfflineOptions) -> str:
    """Return a digest of what is in the tags file; empty where none can be read."""
    if not options.tags:
        return ""
    try:
        return hashlib.sha256(user_path(options.tags).read_bytes()).hexdigest()
    except OSError:
        return ""
