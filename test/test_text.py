"""Text from strangers reaches a terminal as text: neither colours nor lines of its own."""

from __future__ import annotations

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deeplab_miou import cli
from deeplab_miou.accounting import Reason
from deeplab_miou.errors import BagError, ConfigurationError, FrameError
from deeplab_miou.text import plural, printable, quote

EVIL = "\x1b[31mred\x1b[2J\nFORGED [FATAL] line"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, ümläut, 路", "plain, ümläut, 路"),
        ("a\r\nb\tc", "a b c"),
        ("\x1b[2J\x07\x9b", "�[2J��"),
        ("left\u202eright\u2066", "left�right�"),
        ("lone \udcff", "lone �"),
        (EVIL, "�[31mred�[2J FORGED [FATAL] line"),
    ],
)
def test_text_is_one_line_that_cannot_steer(text, expected):
    assert printable(text) == expected
    assert printable(text).isprintable()
    assert quote(text).isprintable()


def test_errors_are_one_printable_line():
    errors = [BagError(EVIL), ConfigurationError(EVIL), FrameError(Reason.BAD_SIZE, EVIL)]
    assert all(str(error).isprintable() for error in errors)


def test_what_a_bag_calls_its_topics_does_not_steer_the_terminal(tmp_path, capsys):
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "sensor_msgs/msg/Image"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection(f"/image{EVIL}", kind, typestore=store)
    given = ["evaluate", str(tmp_path / "bag"), "--prediction-topic", f"/p{EVIL}"]
    assert cli.main([*given, "--labels", "demo"]) != 0
    error = capsys.readouterr().err
    assert "FORGED" in error
    assert error[:-1].isprintable()


@pytest.mark.parametrize(("number", "expected"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames")])
def test_one_thing_is_not_several(number, expected):
    assert plural(number, "frame") == expected
