"""Connects to a Ray cluster, and says what it has room for."""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.paths import user_path
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.options.scoring import EngineOptions

_LONGEST_REASON = 200


def connect(address: str) -> Any:  # noqa: ANN401  (an optional package)
    """Connect to a cluster, or start one here.

    Args:
        address: as of `Pool`.

    Returns:
        The package ``ray``, whose functions are about this cluster until its ``shutdown``.

    Raises:
        ConfigurationError: Ray is missing, or there is no cluster.
    """
    try:
        ray = importlib.import_module("ray")  # optional, and slow to import
    except ImportError:
        raise ConfigurationError(
            "--ray needs the package ray: pip install -r requirements-ray.txt"
        ) from None
    # Whoever starts a cluster for one command has not been asked about sending statistics.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=address or None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ConfigurationError(
            f"no Ray cluster answers at {address or 'this machine'!r} "
            f"({shortened(error)}): give the address that `ray start --head` prints; if the "
            "cluster asks for a token, set RAY_AUTH_MODE=token"
        ) from None
    return ray


def room(ray: Any, engine: EngineOptions) -> tuple[int, dict[str, float]]:  # noqa: ANN401
    """Return how many workers there is room for, and what each takes.

    Raises:
        ConfigurationError: there is no GPU, but one is asked for.
    """
    resources = ray.cluster_resources()
    cores = max(engine.threads, 1)
    gpus = int(resources.get("GPU", 0))
    has_network = engine.source == "network"
    if has_network and engine.device != "cpu" and gpus:
        return gpus, {"num_gpus": 1, "num_cpus": 1}
    if has_network and engine.device.startswith("cuda"):
        raise ConfigurationError(
            f"device is {engine.device}, but the Ray cluster has no GPU: start its nodes with "
            "--num-gpus, or choose --device cpu"
        )
    return max(int(resources.get("CPU", 1)) // cores, 1), {"num_cpus": cores}


def reachable(options: OfflineOptions) -> OfflineOptions:
    """Return options whose files other processes find too: they start in other folders."""
    engine = options.engine
    named: dict[str, Any] = {
        name: os.path.abspath(user_path(value))  # noqa: PTH100  (a link keeps its name)
        for name in ("checkpoint", "labels", "prediction_labels", "regions")
        if user_path(value := getattr(engine, name)).is_file()
    }
    tags = os.path.abspath(user_path(options.tags)) if options.tags else ""  # noqa: PTH100
    return replace(options, engine=replace(engine, **named), tags=tags)


def shortened(error: Exception, *, from_end: bool = False) -> str:
    """Return an error in one short line: its beginning, or its end."""
    text = " ".join(printable(str(error)).split())
    if from_end:
        return text[-_LONGEST_REASON:]
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
