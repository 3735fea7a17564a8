"""Options of ``miou_watch``."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option
from deeplab_miou.options.lifecycle import LifecycleOptions


@dataclass(frozen=True)
class WatchOptions(LifecycleOptions):
    """What the page shows, and where."""

    publisher: str = option(
        "/miou_publisher", "miou_publisher whose scores are shown, with its evaluators", form="NODE"
    )
    replayer: str = option("/bag_replayer", "bag_replayer whose progress is shown", form="NODE")
    comparer: str = option(
        "/miou_comparer", "miou_comparer whose comparison is shown, if it runs", form="NODE"
    )
    host: str = option(
        "127.0.0.1",
        "address to serve the page on; 0.0.0.0 makes it reachable from other machines",
        form="ADDRESS",
    )
    port: int = option(
        8484, "port to serve the page on; 0: any free port", minimum=0, maximum=65_535
    )
