"""Runs two networks over the same bags, reading each bag once."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from deeplab_miou.comparison.changes import (
    MostChanged,
    PixelChanges,
    changed_frame,
    pixel_changes,
)
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.checks import check_topics
from deeplab_miou.offline.evaluation import Side, evaluate_together
from deeplab_miou.offline.provenance import provenance
from deeplab_miou.pictures.segmentation import two_predictions
from deeplab_miou.report.files import BAGS_NAME, check_directory, write_report
from deeplab_miou.report.frame_table import FRAMES_NAME
from deeplab_miou.report.stored import read_report
from deeplab_miou.report.total import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.offline.bag_list import NamedBag
    from deeplab_miou.offline.many_bags import ProgressListener
    from deeplab_miou.options.offline import OfflineOptions

SIDES: tuple[Literal["a"], Literal["b"]] = ("a", "b")


class Changes:
    """What both networks predicted, frame by frame.

    Args:
        engines: of A and B.
        options: of A and B.

    Attributes:
        pixels: what became of all pixels.
        most: the frames that changed most, with pictures.
    """

    def __init__(self, engines: Sequence[Engine], options: Sequence[OfflineOptions]) -> None:
        self._label_map = engines[0].label_map
        self._engines = engines
        self._sees_camera = [not each.prediction_topic for each in options]
        self.pixels = PixelChanges.zero(self._label_map.num_classes)
        self.most = MostChanged()

    def add(self, other: Changes) -> None:
        """Add those of another bag."""
        self.pixels += other.pixels
        for frame in (*other.most.worse, *other.most.better):
            self.most.update(frame, lambda: frame.picture)  # noqa: B023  (called at once)

    def watch(self, bag: str) -> tuple[Callable[[FrameOutcome], None], ...]:
        """Return what to call with each frame of a bag that A, and that B, has scored."""
        frames: list[FrameOutcome] = []

        def take_a(outcome: FrameOutcome) -> None:
            frames[:] = [outcome]

        def take_b(outcome: FrameOutcome) -> None:
            # A label goes to A and then to B; one of them may have been unable to score it.
            if frames and _truth_of(frames[0]) is _truth_of(outcome):
                self._take(bag, frames.pop(), outcome)

        return take_a, take_b

    def _take(self, bag: str, *outcomes: FrameOutcome) -> None:
        (truth, other_truth), (by_a, by_b) = (
            [each for each in arrays if each is not None]
            for arrays in (
                [outcome.ground_truth for outcome in outcomes],
                [outcome.prediction for outcome in outcomes],
            )
        )
        if truth.shape != other_truth.shape:
            raise ConfigurationError(
                f"A is scored at {truth.shape[1]}x{truth.shape[0]} pixels and B at "
                f"{other_truth.shape[1]}x{other_truth.shape[0]}: compare them with --score-at label"
            )
        self.pixels += pixel_changes(truth, by_a, by_b, self._label_map.num_classes)
        before, after = (
            outcome.counts.matrix for outcome in outcomes if outcome.counts is not None
        )
        assert outcomes[0].image is not None  # noqa: S101  (evaluated)
        self.most.update(
            changed_frame(outcomes[0].image.stamp_ns, before, after, bag),
            lambda: two_predictions(
                self._camera_image(outcomes), truth, by_a, by_b, self._label_map
            ),
        )

    def _camera_image(self, outcomes: Sequence[FrameOutcome]) -> NDArray[np.uint8] | None:
        for engine, outcome, sees in zip(self._engines, outcomes, self._sees_camera, strict=True):
            if sees and outcome.image is not None:
                return engine.predictor.prepare(outcome.image.image)
        return None


def _truth_of(outcome: FrameOutcome) -> object:
    return outcome.label and outcome.label.image


def evaluate_both(
    bags: Sequence[NamedBag],
    options: Sequence[OfflineOptions],
    output: Path,
    listener: ProgressListener,
    *,
    many: bool,
) -> Changes:
    """Evaluate bags with two networks, leaving what `deeplab-miou evaluate` leaves for each.

    Args:
        bags: which.
        options: of A and B; ``bag`` does not matter.
        output: gets the folders ``a`` and ``b``.
        listener: follows the progress, and the scores of B.
        many: there is a report for each bag, and one for all.

    Raises:
        ConfigurationError: a checkpoint, topic, label map or device cannot be used, or the networks
            have other classes.
        DeeplabMiouError: a bag that is the only one cannot be read, or a report not be written.
    """
    if not many:
        for each in options:
            check_topics(_of_bag(each, bags[0]))
    with ExitStack() as stack:
        engines = []
        for each in options:
            engines.append(build_engine(each.engine))
            stack.callback(engines[-1].close)
        _check_classes(engines)
        work = _Work(options, engines, output, listener)
        if many:
            work.take_all(bags)
        else:
            listener.begun(bags[0].name)
            work.take(bags[0], "", [output / side for side in SIDES])
        return work.changes


class _Work:
    """Evaluates one bag after another; arguments as of `evaluate_both`."""

    def __init__(
        self,
        options: Sequence[OfflineOptions],
        engines: Sequence[Engine],
        output: Path,
        listener: ProgressListener,
    ) -> None:
        self._options = options
        self._engines = engines
        self._output = output
        self._listener = listener
        self.changes = Changes(engines, options)

    def take(self, bag: NamedBag, name: str, folders: Sequence[Path]) -> None:
        """Evaluate a bag and write both reports.

        Raises:
            ConfigurationError: there is none, or it lacks a topic.
            DeeplabMiouError: nothing of it can be read, or a report not be written.
        """
        for folder in folders:
            check_directory(str(folder))
        changes = Changes(self._engines, self._options)
        sides = [
            Side(_of_bag(options, bag), engine, folder / FRAMES_NAME, on_frame)
            for options, engine, folder, on_frame in zip(
                self._options, self._engines, folders, changes.watch(name), strict=True
            )
        ]
        found = evaluate_together(sides, self._listener.read)
        for folder, each in zip(folders, found, strict=True):
            write_report(each.report, folder)
        self.changes.add(changes)

    def take_all(self, bags: Sequence[NamedBag]) -> None:
        """Evaluate bags and write both reports of all of them."""
        started_s = time.time()
        totals = [
            Total(engine.axes, engine.label_map.palette, options)
            for engine, options in zip(self._engines, self._options, strict=True)
        ]
        for bag in bags:
            self._listener.begun(bag.name)
            folders = [self._output / side / BAGS_NAME / bag.name for side in SIDES]
            try:
                self.take(bag, bag.name, folders)
            except (BagError, ConfigurationError) as error:
                results = [total.add_failed(bag.name, bag.path, str(error)) for total in totals]
            else:
                results = [
                    total.add(bag.name, bag.path, read_report(folder))
                    for total, folder in zip(totals, folders, strict=True)
                ]
            self._listener.ended(results[1], earlier=False)
        paths = [bag.path for bag in bags]
        for side, total, options, engine in zip(
            SIDES, totals, self._options, self._engines, strict=True
        ):
            report = total.report(provenance(options, engine, paths, started_s))
            write_report(report, self._output / side)


def _of_bag(options: OfflineOptions, bag: NamedBag) -> OfflineOptions:
    return replace(options, bag=bag.path)


def _check_classes(engines: Sequence[Engine]) -> None:
    a, b = (engine.label_map for engine in engines)
    if a.class_names != b.class_names:
        raise ConfigurationError(
            f"A has the classes of label map {a.name} and B those of {b.name}: give both the same "
            "label map with --labels"
        )
