"""Options of ``miou_foxglove``."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option
from deeplab_miou.options.lifecycle import LifecycleOptions


@dataclass(frozen=True)
class FoxgloveOptions(LifecycleOptions):
    """What is served, and where."""

    host: str = option(
        "127.0.0.1",
        "address to serve Foxglove on; 0.0.0.0 makes it reachable from other machines",
        form="ADDRESS",
    )
    port: int = option(
        8765, "port to serve Foxglove on; 0: any free port", minimum=0, maximum=65_535
    )
    picture_rate: float = option(
        5.0,
        "maximum number of images sent per second and topic, as JPEG of reduced size",
        minimum=0.01,
        maximum=1000.0,
    )
