"""What the launch files ask for and what they start, without starting it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="ROS 2 launch is not installed")

from launch import LaunchContext, LaunchDescription

FILES = Path(__file__).parents[2] / "launch"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(name):
    description = load(name).generate_launch_description()
    assert isinstance(description, LaunchDescription)
    return {argument.name: argument for argument in description.get_launch_arguments()}


@pytest.mark.parametrize("name", ["evaluate", "replay"])
def test_every_argument_is_described(name):
    for argument in arguments(name).values():
        assert "no description" not in argument.description
        assert len(argument.description) > 10


def test_only_the_bag_must_be_given():
    required = [a.name for a in arguments("replay").values() if a.default_value is None]
    assert required == ["bag"]
    assert all(a.default_value is not None for a in arguments("evaluate").values())


def test_a_replay_takes_every_argument_of_a_live_run():
    assert set(arguments("evaluate")) < set(arguments("replay"))


def evaluate_nodes(**given):
    module = load("evaluate")
    context = LaunchContext()
    for argument in module.ARGUMENTS:
        argument.visit(context)
    context.launch_configurations.update(given)
    return module.make_nodes(context)


def test_each_camera_gets_an_evaluator():
    nodes = evaluate_nodes(
        cameras="front, rear", image_topic="/{camera}/image", label_topic="/{camera}/labels"
    )
    executables = [node.node_executable for node in nodes]
    assert executables == ["deeplab_evaluator", "deeplab_evaluator", "miou_publisher"]


def test_cameras_need_topics_of_their_own():
    with pytest.raises(RuntimeError, match=r"image_topic is '/camera/image', expected \{camera\}"):
        evaluate_nodes(cameras="front,rear", image_topic="/camera/image")
