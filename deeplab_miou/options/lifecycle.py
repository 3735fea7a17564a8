"""Options that all lifecycle nodes have."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option


@dataclass(frozen=True)
class LifecycleOptions:
    """How the node starts."""

    autostart: bool = option(
        default=True, text="configure and activate without a lifecycle manager"
    )
    autostart_exit_on_failure: bool = option(
        default=False,
        text="exit if autostart fails, instead of staying up unconfigured",
    )
