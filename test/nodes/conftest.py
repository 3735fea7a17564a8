from __future__ import annotations

import contextlib
import warnings

import pytest

# What rclpy imports with the first message uses a deprecated module: not our warning.
with warnings.catch_warnings(), contextlib.suppress(ImportError):
    warnings.simplefilter("ignore", DeprecationWarning)
    import rosidl_generator_py  # noqa: F401


@pytest.fixture
def recorder():
    """Return a class of nodes that note their steps; those in `failing` raise."""
    managed = pytest.importorskip("deeplab_miou.nodes.lifecycle.managed")
    parameters = pytest.importorskip("deeplab_miou.nodes.parameters.table")
    table = (
        parameters.Parameter("path", default="x", description="read when configured"),
        parameters.Parameter("level", default=1, description="live", maximum=9, read_only=False),
        parameters.Parameter("weights", default=[], description="empty list", element=float),
    )

    class Recorder(managed.ManagedNode):
        def __init__(self, failing=None):
            self.failing = failing or {}
            self.steps = []
            super().__init__("recorder", table)

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

        def settings_changed(self, changes):
            self._step(f"changed {changes}")

    return Recorder
