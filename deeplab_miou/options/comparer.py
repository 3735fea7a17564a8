"""Options of ``miou_comparer``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab_miou.options.declaration import option
from deeplab_miou.options.lifecycle import LifecycleOptions


@dataclass(frozen=True)
class DuelOptions:
    """Evaluators to compare."""

    evaluator_a: str = option(
        "/deeplab_evaluator_a", "deeplab_evaluator of the current network", form="NODE"
    )
    evaluator_b: str = option(
        "/deeplab_evaluator_b", "deeplab_evaluator of the network to be judged", form="NODE"
    )
    compare_predictions: bool = option(
        default=True,
        text="also compare predictions, even without labels; makes the evaluators publish them",
    )
    labels: str = option(
        "",
        "label map with the colours of pictures: a name or a YAML file",
        unset="arbitrary colours",
        form="MAP",
    )


@dataclass(frozen=True)
class ComparerOptions(DuelOptions, LifecycleOptions):
    """What is published and written."""

    margin: float = option(
        0.005,
        "treat smaller differences in mIoU as irrelevant",
        minimum=0.0,
        maximum=1.0,
        form="IOU",
    )
    absent_classes: Literal["exclude", "zero"] = option(
        "exclude",
        "whether a class that occurs in neither the ground truth nor the prediction is excluded "
        "from the mean or counts as zero",
    )
    publish_period: float = option(
        1.0,
        "minimum time in seconds between comparisons; only changes are published",
        minimum=0.02,
        maximum=3600.0,
    )
    report_directory: str = option(
        "",
        "folder for compare.json, compare.html and compare.md, written when the node ends; created "
        "if it does not exist",
        unset="no report",
    )
