from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def field_messages(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("field_messages")


class Recorder:
    """Stands for the environment, in which building takes a minute."""

    def __init__(self, state, there):
        self.state = state
        self.there = there
        self.built = []

    def imports(self, modules):
        return modules in self.there

    def colcon(self, *packages, base_paths):
        self.built.append((packages, base_paths))


def test_only_what_is_missing_is_built(field_messages, tmp_path):
    environment = Recorder(tmp_path, {"vision_msgs.msg"})
    field_messages.build(environment)
    sources = tmp_path / "field_messages"
    assert environment.built == [(("ffmpeg_image_transport_msgs", "foxglove_msgs"), [sources])]
    package = sources / "foxglove_msgs"
    assert ET.parse(package / "package.xml").findtext("name") == "foxglove_msgs"  # noqa: S314
    assert '"msg/CompressedVideo.msg"' in (package / "CMakeLists.txt").read_text()
    definition = field_messages.DEFINITIONS / "foxglove_msgs" / "CompressedVideo.msg"
    assert (package / "msg" / "CompressedVideo.msg").read_text() == definition.read_text()


def test_with_all_there_nothing_is_built(field_messages, tmp_path):
    names = {f"{each.name}.msg" for each in field_messages.DEFINITIONS.iterdir()}
    environment = Recorder(tmp_path, names)
    field_messages.build(environment)
    assert environment.built == []
