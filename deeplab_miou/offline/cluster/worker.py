"""What a worker of the cluster does; it knows nothing of Ray."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from deeplab_miou.errors import BagError, ConfigurationError, DeeplabMiouError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.memory import keep_freed_memory
from deeplab_miou.offline.checks import check_class_weights
from deeplab_miou.offline.parts import divide, merge, score_section
from deeplab_miou.offline.provenance import configuration, provenance
from deeplab_miou.report.frame_table import FRAMES_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.metric.counts import Axes
    from deeplab_miou.offline.evaluation import Evaluation
    from deeplab_miou.offline.parts import Division, SectionResult
    from deeplab_miou.offline.sections import Section
    from deeplab_miou.options.offline import OfflineOptions

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Facts:
    """What a worker reports when it is ready.

    Attributes:
        configuration: digest of all that decides a score but the bag.
        axes: classes and regions.
        palette: (n, 3) uint8 RGB of the classes.
        provenance: of what it is going to score.
    """

    configuration: str
    axes: Axes
    palette: NDArray[np.uint8]
    provenance: dict[str, object]


@dataclass(frozen=True, eq=False)
class Finished:
    """A bag that has been evaluated.

    Attributes:
        evaluation: of it.
        frame_table: content of its table of frames.
    """

    evaluation: Evaluation
    frame_table: bytes


@dataclass(frozen=True)
class Crash:
    """An unexpected exception, as text: not every exception survives the journey.

    Attributes:
        text: its traceback.
    """

    text: str


class ClusterWorker:
    """Loads a network once and scores sections of bags.

    Errors are returned, so that they arrive as they are.

    Args:
        options: how; ``bag`` does not matter.
    """

    def __init__(self, options: OfflineOptions) -> None:
        keep_freed_memory()
        self._options = options
        self._built: Engine | None = None

    def prepare(self) -> Facts | DeeplabMiouError | Crash:
        """Load the network."""
        return _told(self._prepare)

    def divide(self, bag: str, most_frames: int) -> Division | DeeplabMiouError | Crash:
        """Read the stamps of a bag, see `parts.divide`."""
        return _told(lambda: divide(self._of(bag), self._engine, most_frames))

    def score(self, bag: str, section: Section) -> SectionResult | DeeplabMiouError | Crash:
        """Score a section of a bag."""
        return _told(lambda: score_section(self._of(bag), self._engine, section))

    def merge(
        self, bag: str, division: Division, parts: Sequence[SectionResult]
    ) -> Finished | DeeplabMiouError | Crash:
        """Put the parts of a bag together."""
        return _told(lambda: self._merge(bag, division, parts))

    @property
    def _engine(self) -> Engine:
        if self._built is None:
            self._built = build_engine(self._options.engine)
        return self._built

    def _of(self, bag: str) -> OfflineOptions:
        return replace(self._options, bag=bag)

    def _prepare(self) -> Facts:
        engine = self._engine
        check_class_weights(self._options, engine)
        return Facts(
            configuration(self._options, engine),
            engine.axes,
            engine.label_map.palette,
            provenance(self._options, engine, [], time.time()),
        )

    def _merge(self, bag: str, division: Division, parts: Sequence[SectionResult]) -> Finished:
        with TemporaryDirectory(prefix="deeplab_miou_") as folder:
            table = Path(folder) / FRAMES_NAME
            evaluation = merge(self._of(bag), self._engine, division, parts, table)
            return Finished(evaluation, table.read_bytes())


def _told(work: Callable[[], T]) -> T | DeeplabMiouError | Crash:
    try:
        return work()
    except (BagError, ConfigurationError) as error:
        return error
    except DeeplabMiouError as error:
        # Some take more than a text, and could not be built again from what travels.
        return DeeplabMiouError(str(error))
    except Exception:  # noqa: BLE001  (raised where the command runs)
        return Crash(traceback.format_exc())
