from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass

import pytest

from deeplab_miou.options.declaration import option
from deeplab_miou.options.lifecycle import LifecycleOptions

# What rclpy imports with the first message uses a deprecated module: not our warning.
with warnings.catch_warnings(), contextlib.suppress(ImportError):
    warnings.simplefilter("ignore", DeprecationWarning)
    import rosidl_generator_py  # noqa: F401


@dataclass(frozen=True)
class RecorderOptions(LifecycleOptions):
    """Of each kind."""

    path: str = option("x", "read when configured")
    level: int = option(1, "live", maximum=9, at_runtime=True)
    weights: tuple[float, ...] = option((), "empty list")


@pytest.fixture
def recorder():
    """Return a class of nodes that note their steps; those in `failing` raise."""
    managed = pytest.importorskip("deeplab_miou.nodes.lifecycle.managed")

    class Recorder(managed.ManagedNode):
        def __init__(self, failing=None):
            self.failing = failing or {}
            self.steps = []
            super().__init__("recorder", RecorderOptions)

        def _step(self, name):
            self.steps.append(name)
            if name in self.failing:
                raise self.failing[name]

        def configure(self):
            self._step("configure")

        def activate(self):
            self._step("activate")

        def deactivate(self):
            self._step("deactivate")

        def cleanup(self):
            self._step("cleanup")

        def finish(self):
            self._step("finish")

        def settings_changed(self, settings):
            changes = {"level": settings.level}
            self._step(f"changed {changes}")

    return Recorder
