"""What two runs have in common: a bag each, or many that are paired by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplab_miou.comparison.changes import MostChanged
from deeplab_miou.comparison.difference import add_pair, paired_sums
from deeplab_miou.comparison.frames import common_frames, span
from deeplab_miou.comparison.slices import SlicePairs
from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from deeplab_miou.comparison.changes import PixelChanges
    from deeplab_miou.comparison.evaluated_run import EvaluatedRun
    from deeplab_miou.comparison.frames import CommonFrames
    from deeplab_miou.metric.drives import DriveSums
    from deeplab_miou.tags.timeline import TagTimeline


@dataclass(eq=False)
class Common:
    """The frames that both runs have scored, added up bag by bag.

    Attributes:
        sums: their counts.
        is_many: they are of bags that have names.
        frames: how many.
        only_a: frames that B lacks in bags that both have.
        only_b: frames that A lacks.
        bags: names of the bags that both have frames of; the only one's is empty.
        bags_only_a: names of those that B lacks.
        bags_only_b: names of those that A lacks.
        changed: the frames that changed most.
        pixels: what became of their pixels; None where the predictions of both are not known.
        disagreement: share of all pixels that the two predict differently; NaN where not known.
        slices: the frames by their tags; None where they are not known.
    """

    sums: DriveSums
    is_many: bool = False
    frames: int = 0
    only_a: int = 0
    only_b: int = 0
    bags: list[str] = field(default_factory=list)
    bags_only_a: list[str] = field(default_factory=list)
    bags_only_b: list[str] = field(default_factory=list)
    changed: MostChanged = field(default_factory=MostChanged)
    pixels: PixelChanges | None = None
    disagreement: float = math.nan
    slices: SlicePairs | None = None

    @property
    def b_lacks_some(self) -> bool:
        """Whether A scored frames that B did not, which may be the hard ones."""
        return bool(self.only_a or self.bags_only_a)

    def add(self, bag: str, frames: CommonFrames, timeline: TagTimeline | None = None) -> None:
        """Add a bag.

        Args:
            bag: its name.
            frames: of both runs.
            timeline: its tags; None where they are not known.
        """
        count = len(frames.a.stamps_ns)
        self.frames += count
        self.only_a += frames.only_a
        self.only_b += frames.only_b
        if not count:
            return
        self.bags.append(bag)
        add_pair(self.sums, frames.a, frames.b)
        self.changed.update_all(frames, bag)
        if self.slices is not None and timeline is not None:
            self.slices.add(frames, timeline)


def find_common(a: EvaluatedRun, b: EvaluatedRun) -> Common:
    """Pair the bags of two runs and their frames by stamp.

    Raises:
        ConfigurationError: one run is of many bags and the other of one, they have other classes or
            nothing in common, or scored a common frame on other ground truth.
        DeeplabMiouError: a table of frames cannot be read.
    """
    if a.is_many != b.is_many:
        one, many = (b, a) if a.is_many else (a, b)
        raise ConfigurationError(
            f"{one.folder!r} is of one bag and {many.folder!r} of many: evaluate both on the same "
            "bags, or give the folder of one of them, DIR/bags/NAME"
        )
    num_classes = len(a.report.class_names)
    common = Common(paired_sums(num_classes), a.is_many, slices=SlicePairs(num_classes))
    pairs = _pairs(a, b)
    common.bags_only_a = [name for name in a.bags if name not in pairs]
    common.bags_only_b = [name for name in b.bags if name not in pairs.values()]
    tables = None
    for name, name_b in pairs.items():
        tables = a.table(name), b.table(name_b)
        try:
            common.add(name, common_frames(*tables), b.timeline(name_b))
        except ConfigurationError as error:
            raise ConfigurationError(f"bag {name}: {error}" if name else str(error)) from None
    if not common.frames:
        where = f"{len(a.bags)} and {len(b.bags)} bags"
        if tables and not a.is_many:
            where = f"{span(tables[0])} and {span(tables[1])}"
        raise ConfigurationError(
            f"A and B have no frame in common ({where}): evaluate both on the same bag"
        )
    return common


def _pairs(a: EvaluatedRun, b: EvaluatedRun) -> dict[str, str]:
    """Return the name that B has for each bag of A, in the order of A.

    A bag is named by as many of its folders as the others with it take: where a name is missing,
    the same files are the same bag.
    """
    same = set(a.bags) & set(b.bags)
    states = {b.state(name): name for name in b.bags if name not in same}
    states.pop("", None)
    pairs = {name: name if name in same else states.get(a.state(name), "") for name in a.bags}
    return {name: name_b for name, name_b in pairs.items() if name_b or name in same}
