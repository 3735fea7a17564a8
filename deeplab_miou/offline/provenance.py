"""The provenance of an offline evaluation, and which parts of it affect the score."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING

from deeplab_miou import __version__
from deeplab_miou.offline.tags import tags_digest
from deeplab_miou.options.declaration import options_of
from deeplab_miou.report.provenance import environment, utc

if TYPE_CHECKING:
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.options.offline import OfflineOptions

# Options that name files, of which the engine's own digest knows the content.
_FILES = ("checkpoint", "labels", "prediction_labels", "regions", "tags")


def provenance(
    options: OfflineOptions, engine: Engine, bags: list[str], started_s: float
) -> dict[str, object]:
    """Return what was evaluated, with what, where and when; JSON types.

    Args:
        options: how.
        engine: with what.
        bags: what.
        started_s: when that began, seconds since the epoch.
    """
    return {
        **engine.provenance,
        "configuration": configuration(options, engine),
        "command": "deeplab-miou evaluate",
        "mode": "offline",
        "bags": bags,
        "input_topic": options.input_topic,
        "label_topic": options.label_topic,
        "depth_topic": options.depth_topic or None,
        "sync_tolerance_s": options.sync_tolerance,
        "start_s": options.start,
        "duration_s": options.duration or None,
        "tags": options.tags or options.tags_topic or None,
        "absent_classes": options.absent_classes,
        "class_weights": list(options.class_weights),
        "started": utc(started_s),
        "ended": utc(time.time()),
        **environment(engine.device),
    }


def configuration(options: OfflineOptions, engine: Engine) -> str:
    """Return a digest of all that decides a report but the bag itself.

    Files count by what is in them, whatever they are called.
    """
    chosen = {
        each.name: getattr(declared, each.name)
        for declared in (options, options.engine)
        for each in options_of(type(declared))
        if each.name not in _FILES
    }
    decisive = json.dumps(
        [
            *(engine.configuration, engine.device, options.prediction_topic),
            *(chosen, tags_digest(options), __version__),
        ]
    )
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]
