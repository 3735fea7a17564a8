"""Builds what scores a stream from the user's options: label map and predictions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.evaluation.predictors import network_predictor, topic_predictor
from deeplab_miou.images import rvl
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.labels.legend import Legend
from deeplab_miou.metric import error_types
from deeplab_miou.metric.confusion import warm_up
from deeplab_miou.metric.counts import Axes
from deeplab_miou.paths import user_path
from deeplab_miou.regions.file_format import read_regions
from deeplab_miou.regions.regions import Regions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.options.scoring import EngineOptions

DEMO_CHECKPOINT = "demo"
_DEMO_NOTE = "; this is the bundled demo network, which is for rendered scenes only"

# Networks that take the image as it comes are warmed up at this size, (h, w).
_WARM_UP_SIZE = (480, 640)


def make_legends(options: EngineOptions, engine: Engine) -> Legends:
    """Return the names of ids of one stream, still empty.

    Raises:
        ConfigurationError: classes of a label map cannot be told apart by name.
    """
    labels = predictions = None
    if options.label_info_topic:
        labels = Legend(engine.label_map, options.label_info_topic)
    if options.prediction_label_info_topic:
        predictions = Legend(
            engine.prediction_map or engine.label_map, options.prediction_label_info_topic
        )
    return Legends(labels, predictions)


@dataclass(frozen=True)
class Engine:
    """A label map and a source of predictions, ready to score a stream.

    Attributes:
        label_map: what labels mean.
        predictor: where predictions come from.
        device: where the network runs; ``none`` without one.
        summary: one line for the log: what was loaded.
        provenance: what decides the score, JSON types: checkpoint and its digest, label map, ….
        configuration: digest of all that decides the score; runs that differ in it do not add up.
        device_facts: describes the device's memory, for people; nothing for a CPU.
        close: frees the network; call it once.
        regions: what is scored separately, and what is not scored.
        error_types: whether mistakes are sorted.
        prediction_map: what ids of predictions from a topic mean; None for train ids.
    """

    label_map: LabelMap
    predictor: Predictor
    device: str
    summary: str
    provenance: Mapping[str, object]
    configuration: str
    device_facts: Callable[[], dict[str, str]]
    close: Callable[[], None]
    regions: Regions = field(default_factory=Regions)
    error_types: bool = False
    prediction_map: LabelMap | None = None

    @property
    def axes(self) -> Axes:
        """What is counted."""
        return Axes(self.label_map.class_names, self.regions.names)


def build_engine(options: EngineOptions) -> Engine:
    """Load and warm up all that is needed.

    Raises:
        ConfigurationError: a file, name or device cannot be used; the message says which and why.
    """
    if options.source == "topic":
        return _from_topic(options)
    if options.prediction_label_info_topic:
        raise ConfigurationError(
            "prediction_label_info_topic is for predictions from a topic, but they come from a "
            "network; for the ground truth use label_info_topic"
        )
    return _from_network(options)


def _from_topic(options: EngineOptions) -> Engine:
    if not options.labels:
        raise ConfigurationError(
            "labels is empty, expected a label map: predictions from a topic do not include one"
        )
    label_map = load_label_map(options.labels)
    prediction_map = None
    if options.prediction_labels:
        prediction_map = load_label_map(options.prediction_labels)
        _check_classes(label_map, prediction_map.num_classes, prediction_map.name)
    facts: dict[str, object] = {
        "source": "topic",
        "prediction_labels": prediction_map.to_dict() if prediction_map else None,
    }
    return _engine(
        options,
        label_map,
        topic_predictor(label_map, prediction_map),
        facts,
        device="none",
        summary=f"predictions of a topic, label map {label_map.name}",
        device_facts=dict,
        close=lambda: None,
        prediction_map=prediction_map,
    )


def _from_network(options: EngineOptions) -> Engine:
    # Else idle threads of the network spin, which costs a shared processor far more than it gains.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Torch is heavy: only who runs a network imports it.
    from deeplab_miou.model.checkpoints import load as checkpoints  # noqa: PLC0415
    from deeplab_miou.model.inference import devices  # noqa: PLC0415
    from deeplab_miou.model.segmenter import Segmenter  # noqa: PLC0415

    if not options.checkpoint:
        raise ConfigurationError(
            "checkpoint is empty, expected a file, or 'demo' for the bundled network"
        )
    checkpoint = checkpoints.load_as(_checkpoint_file(options.checkpoint), options)
    label_map = load_label_map(options.labels) if options.labels else checkpoint.label_map
    if label_map is None:
        raise ConfigurationError(
            f"checkpoint {options.checkpoint} holds no label map: name one with labels (--labels)"
        )
    if checkpoint.output == "label map":
        checkpoint = dataclasses.replace(checkpoint, num_classes=label_map.num_classes)
    _check_classes(label_map, checkpoint.num_classes, f"checkpoint {options.checkpoint}")
    _check_order(label_map, checkpoint.label_map, f"checkpoint {options.checkpoint}")
    segmenter = Segmenter(
        checkpoint,
        device=options.device,
        precision=options.precision,
        backend=options.backend,
        rewrite=options.rewrite,
        threads=options.threads or None,
    )
    segmenter.warm_up(checkpoint.preprocessing.size or _WARM_UP_SIZE)
    facts: dict[str, object] = {
        "source": "network",
        "checkpoint": Path(options.checkpoint).name,
        "checkpoint_sha256": checkpoint.digest,
        "family": checkpoint.family,
        "output": checkpoint.output,
        "weights": checkpoint.weights,
        "output_stride": checkpoint.output_stride,
        "atrous_rates": checkpoints.atrous_rates(checkpoint),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "precision": segmenter.precision,
        "backend": segmenter.backend,
    }
    return _engine(
        options,
        label_map,
        network_predictor(segmenter, label_map),
        facts,
        device=segmenter.device,
        summary=f"{checkpoints.describe(checkpoint)}; {segmenter.device}, {segmenter.precision}"
        + (_DEMO_NOTE if options.checkpoint == DEMO_CHECKPOINT else ""),
        device_facts=lambda: devices.memory_facts(segmenter.device),
        close=segmenter.close,
    )


def _engine(
    options: EngineOptions,
    label_map: LabelMap,
    predictor: Predictor,
    facts: dict[str, object],
    *,
    device: str,
    summary: str,
    device_facts: Callable[[], dict[str, str]],
    close: Callable[[], None],
    prediction_map: LabelMap | None = None,
) -> Engine:
    warm_up(label_map.num_classes)
    regions = read_regions(options.regions)
    facts |= {"score_at": options.score_at, "regions": regions.digest or None}
    regions.warm_up()
    if regions.by_depth:
        rvl.warm_up()
    if options.error_types:
        error_types.warm_up()
        facts["error_types"] = True
    for name in ("label_info_topic", "prediction_label_info_topic"):
        if topic := getattr(options, name):
            facts[name] = topic
    # What files are called affects no score.
    decisive = json.dumps(
        {key: value for key, value in facts.items() if key != "checkpoint"}
        | {"label_map": _content(label_map), "prediction_labels": _content(prediction_map)},
        sort_keys=True,
    )
    return Engine(
        label_map=label_map,
        predictor=predictor,
        device=device,
        summary=summary,
        provenance=facts | {"label_map": label_map.name, "device": device},
        configuration=hashlib.sha256(decisive.encode()).hexdigest()[:16],
        device_facts=device_facts,
        close=close,
        regions=regions,
        error_types=options.error_types,
        prediction_map=prediction_map,
    )


def _content(label_map: LabelMap | None) -> dict[str, object]:
    """Return what a label map says, without its name; nothing without one."""
    content = {} if label_map is None else label_map.to_dict()
    return {key: value for key, value in content.items() if key != "name"}


def _checkpoint_file(name: str) -> Path:
    if name == DEMO_CHECKPOINT:
        return Path(__file__).parents[1] / "demo" / "demo.safetensors"
    return user_path(name)


def _check_classes(label_map: LabelMap, num_classes: int, what: str) -> None:
    if label_map.num_classes == 1 and num_classes == 2:  # noqa: PLR2004
        raise ConfigurationError(
            f"{what} has two classes (a network with one channel has background and what is above "
            f"its threshold), label map {label_map.name} has one: give a map with two classes, "
            "background first"
        )
    if label_map.num_classes != num_classes:
        raise ConfigurationError(
            f"{what} has {num_classes} classes, label map {label_map.name} has "
            f"{label_map.num_classes}: expected the network's classes in its order, with the ids "
            "of your labels"
        )


def _check_order(label_map: LabelMap, known: LabelMap | None, what: str) -> None:
    """Refuse a label map that has the checkpoint's own classes in another order."""
    if known is None or set(known.class_names) != set(label_map.class_names):
        return  # they may well be called otherwise
    for index, (ours, theirs) in enumerate(
        zip(label_map.class_names, known.class_names, strict=True)
    ):
        if ours != theirs:
            raise ConfigurationError(
                f"label map {label_map.name} has the classes of {what} in another order: class "
                f"{index} is {ours!r}, but {theirs!r} in the network; use the network's order"
            )
