"""Options of commands that judge a score."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option


@dataclass(frozen=True)
class CriteriaOptions:
    """What the score must reach."""

    criteria: str = option(
        "", "YAML file of what must be reached; exit with 5 if it is not", unset="none", form="FILE"
    )
    junit: str = option(
        "", "write what was reached as JUnit XML, which CI servers show", unset="none", form="FILE"
    )
