"""What we take from rclpy and launch exists in every ROS 2 distribution, or has a fallback."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from upstream_names import TABLE, Upstream, fallbacks, instead_of, our_files, used_names

FILES = our_files()
NAMES = sorted(used_names(FILES))
KNOWN = yaml.safe_load(TABLE.read_text())


def exists(name, distribution):
    where = KNOWN["only_in"].get(name)
    return name in KNOWN["everywhere"] if where is None else distribution in where


def test_the_table_is_about_the_names_that_we_use():
    assert sorted([*KNOWN["everywhere"], *KNOWN["only_in"]]) == NAMES, (
        "run tools/upstream_names.py with clones of rclpy, launch and launch_ros"
    )
    assert len(NAMES) > 150


@pytest.mark.parametrize(
    ("package", "distribution"),
    [(package, each) for package, all_ in KNOWN["sources"].items() for each in all_],
)
def test_every_name_exists_or_has_a_fallback(package, distribution):
    others = fallbacks(FILES)
    of_package = [name for name in NAMES if name.split(".")[0] == package]
    assert of_package
    for name in of_package:
        if name in others.values() or any(name.startswith(f"{each}.") for each in others.values()):
            continue  # stands for another one
        other = instead_of(name, others)
        assert exists(name, distribution) or (other and exists(other, distribution)), name


@pytest.fixture
def upstream(tmp_path):
    package = tmp_path / "rclpy"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("def init(*, args=None): ...\n")
    (package / "inner" / "__init__.py").write_text("from .node import Node\n")
    (package / "inner" / "node.py").write_text(
        textwrap.dedent("""
        from rclpy.base import Base
        from elsewhere import Unknown

        class Node(Base):
            class Kind:
                ONE = 1

            def __init__(self, name, *, context=None):
                self.context = context

            def create(self, topic, depth=1): ...
        """)
    )
    (package / "base.py").write_text("class Base:\n    def destroy(self): ...\n")
    return Upstream(tmp_path, "rclpy")


@pytest.mark.parametrize(
    "name",
    [
        "rclpy",
        "rclpy.init(args)",
        "rclpy.inner.Node",
        "rclpy.inner.Node(context)",
        "rclpy.inner.Node.Kind.ONE",
        "rclpy.inner.Node.context",
        "rclpy.inner.Node.create(depth)",
        "rclpy.inner.Node.destroy",
    ],
)
def test_names_are_found_in_sources(upstream, name):
    assert upstream.has(name)


@pytest.mark.parametrize(
    "name",
    [
        "rclpy.init(domain)",
        "rclpy.other.Node",
        "rclpy.inner.Other",
        "rclpy.inner.Node(depth)",
        "rclpy.inner.Node.Kind.TWO",
        "rclpy.inner.Node.create(retry)",
        "rclpy.inner.Node.spin",
    ],
)
def test_names_that_are_missing_in_sources_are_told(upstream, name):
    assert not upstream.has(name)


def test_uses_are_found_by_types(tmp_path):
    path = tmp_path / "ours.py"
    path.write_text(
        textwrap.dedent("""
        from typing import TYPE_CHECKING
        from rclpy.node import Node
        from rclpy.qos import Policy as Rule
        if TYPE_CHECKING:
            from rclpy.timer import Timer

        class Mine(Node):
            def __init__(self):
                self._timer: Timer | None = None
                self.own()

            def own(self):
                self._timer.reset()
                self.create_timer(1.0, clock=None)

        def use(node: Node, mine: Mine):
            node.destroy()
            mine.own()
            mine.get_name()
            return Rule.ONE
        """)
    )
    assert used_names([path]) == {
        "rclpy.node.Node",
        "rclpy.node.Node.create_timer",
        "rclpy.node.Node.create_timer(clock)",
        "rclpy.node.Node.destroy",
        "rclpy.node.Node.get_name",
        "rclpy.qos.Policy",
        "rclpy.qos.Policy.ONE",
        "rclpy.timer.Timer.reset",
    }


def test_the_names_of_humble_are_taken_where_the_others_are_missing():
    """In a process of its own, whose rclpy is made to be Humble's in this."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    code = """
        import sys
        import rclpy.event_handler
        humble = sys.modules["rclpy.qos_event"] = sys.modules["rclpy.event_handler"]
        sys.modules["rclpy.event_handler"] = None

        from deeplab_miou.nodes.ros.distributions import SubscriptionEventCallbacks
        assert SubscriptionEventCallbacks is humble.SubscriptionEventCallbacks
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True)
