"""One side of a comparison: the folder written by ``deeplab-miou evaluate --output``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.comparison.side_info import SideInfo
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.paths import user_path
from deeplab_miou.report.files import BAGS_NAME, JSON_NAME
from deeplab_miou.report.frame_table import FRAMES_NAME
from deeplab_miou.report.provenance import scored_name
from deeplab_miou.report.stored import read_report

if TYPE_CHECKING:
    from deeplab_miou.report.frame_table import FrameTable
    from deeplab_miou.report.stored import StoredReport
    from deeplab_miou.tags.timeline import TagTimeline


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """What an evaluation left.

    Attributes:
        folder: where it lies.
        report: of all of it.
    """

    folder: str
    report: StoredReport

    @property
    def name(self) -> str:
        """What was evaluated, in a word."""
        return scored_name(self.report.provenance) or self.folder

    @property
    def side_info(self) -> SideInfo:
        """What a comparison says of it."""
        report = self.report
        return SideInfo(self.folder, self.name, report.provenance, report.doubts, report.problems)

    @property
    def is_many(self) -> bool:
        """Whether it is of many bags."""
        return self.report.bags is not None

    @property
    def bags(self) -> list[str]:
        """Names of the bags that were evaluated; empty for the only one."""
        return [""] if self.report.bags is None else self.report.bags

    def table(self, bag: str) -> FrameTable:
        """Return the counts of each frame of a bag.

        Raises:
            ConfigurationError: it was not evaluated as the others were.
            DeeplabMiouError: they cannot be read.
        """
        return self._of(bag).table()

    def timeline(self, bag: str) -> TagTimeline:
        """Return the tags of a bag, as `table`; without any there are none.

        Raises:
            ConfigurationError: as `table`.
        """
        return self._of(bag).timeline()

    def state(self, bag: str) -> str:
        """Return the digest of where one of many bags lies and of its files; empty if unknown."""
        try:
            return str(self._of(bag).provenance.get("bag_state", ""))
        except ConfigurationError:
            return ""

    def _of(self, bag: str) -> StoredReport:
        if not self.is_many:
            return self.report
        report = read_report(self.report.folder / BAGS_NAME / bag)
        chosen = "configuration"
        if report.provenance.get(chosen) != self.report.provenance.get(chosen):
            raise ConfigurationError(
                f"bag {bag} in {self.folder!r} was not evaluated as {JSON_NAME} there says, as "
                "after an interrupted run with other options: evaluate again"
            )
        return report


def read_run(folder: str) -> EvaluatedRun:
    """Read an output folder of ``deeplab-miou evaluate``.

    Raises:
        ConfigurationError: it is no such folder.
    """
    place = user_path(folder)
    missing = [name for name in (JSON_NAME, FRAMES_NAME) if not (place / name).is_file()]
    if JSON_NAME not in missing:
        run = EvaluatedRun(folder, read_report(place))
        if run.is_many or not missing:
            return run
    raise ConfigurationError(
        f"{folder!r} has no {' and no '.join(missing)}: give the folders of two "
        "`deeplab-miou evaluate BAG --output FOLDER`, or two checkpoints and the bags to compare "
        "them on"
    )
