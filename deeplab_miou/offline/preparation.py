"""What a bag's messages mean to one evaluation, known before any of them is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.offline.label_info import read_legends
from deeplab_miou.offline.lost_messages import with_lost_messages
from deeplab_miou.offline.plan import plan
from deeplab_miou.offline.tags import read_tags

if TYPE_CHECKING:
    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.offline.plan import Plan
    from deeplab_miou.offline.stamps import Stamps
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.tags.timeline import TagTimeline


class Preparation(NamedTuple):
    """What is known before the first image is scored.

    Attributes:
        plan: which messages belong together, what was lost, and what else may be missing.
        tags: frames are also scored separately by these; None for no tags.
        legends: the names of ids.
    """

    plan: Plan
    tags: TagTimeline | None
    legends: Legends


def prepare(
    reader: BagReader, stamps: Stamps, options: OfflineOptions, engine: Engine
) -> Preparation:
    """Prepare an evaluation.

    Args:
        reader: the open bag.
        stamps: of its messages.
        options: what and how.
        engine: with what.

    Raises:
        ConfigurationError: the section begins after the last image, or tags cannot be used.
        BagError: nothing of the bag can be read.
    """
    planned = with_lost_messages(reader, stamps, plan(stamps, options), options)
    tags = read_tags(options, reader, stamps)
    legends = read_legends(reader, stamps, options, engine)
    planned = replace(planned, findings=[*planned.findings, *legends.doubts])
    return Preparation(planned, tags, legends)
