"""Options of commands that judge a score."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option


@dataclass(frozen=True)
class CriteriaOptions:
    """What the score must reach."""

    criteria: str = option(
        "", "YAML file of thresholds; exit with 5 if the scores miss one", unset="none", form="FILE"
    )
    junit: str = option(
        "",
        "also write the outcome of each threshold and bag as JUnit XML, for CI servers",
        unset="none",
        form="FILE",
    )
