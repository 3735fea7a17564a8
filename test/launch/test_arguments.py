"""What the launch files ask for and what they start, without starting it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

pytest.importorskip("launch_ros", reason="ROS 2 launch is not installed")

from launch import LaunchContext, LaunchDescription
from launch_ros.parameter_descriptions import ParameterFile

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


@pytest.mark.parametrize("name", ["evaluate", "replay", "compare"])
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


def test_a_comparison_takes_what_one_evaluation_takes_and_more_for_the_second():
    expected = set(arguments("evaluate")) - {"cameras", "evaluator_name", "publisher_name"}
    assert expected < set(arguments("compare"))
    assert all(a.default_value is not None for a in arguments("compare").values())


def test_a_comparison_has_one_of_each_viewer_and_recordings_of_their_own():
    module = load("compare")
    context = LaunchContext()
    for argument in module.ARGUMENTS:
        argument.visit(context)
    viewers = dict.fromkeys(("watch", "foxglove", "rqt"), "true")
    context.launch_configurations.update(viewers, record="out/drive")
    passed = []
    for group in module.make_actions(context)[:2]:
        (include,) = [
            each for each in group.get_sub_entities() if hasattr(each, "launch_arguments")
        ]
        passed.append(dict(include.launch_arguments))
    for name in viewers:
        # Nothing said is what was given.
        assert [each.get(name, "true") for each in passed] == ["false", "true"]
    assert [each["record"] for each in passed] == ["out/drive_a", "out/drive_b"]
    names = [each["evaluator_name"] for each in passed]
    # As the layout for Foxglove has them.
    assert names == ["deeplab_evaluator_a", "deeplab_evaluator_b"]


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


def test_one_process_gets_the_parameters_of_all_its_nodes():
    (both, watch) = evaluate_nodes(
        single_process="true",
        watch="true",
        namespace="car",
        cameras="front,rear",
        image_topic="/{camera}/image",
        label_topic="/{camera}/labels",
        labels="1",
        predict_unlabelled="true",
        regions="/etc/{camera}.yaml",
        depth_topic="/depth",
        error_types="true",
        report_directory="scores",
    )
    assert both.node_executable == "miou_single_process"
    assert watch.node_executable == "miou_watch"
    command = "".join(text.text for word in both.cmd for text in word if hasattr(text, "text"))
    assert "--evaluatordeeplab_evaluator_front--evaluatordeeplab_evaluator_rear" in command
    (path,) = (each for each in both._Node__parameters if isinstance(each, ParameterFile))
    written = yaml.safe_load(Path(path.evaluate(LaunchContext())).read_text())
    assert written == {
        f"/car/deeplab_evaluator_{camera}": {
            "ros__parameters": {
                "image_topic": f"/{camera}/image",
                "label_topic": f"/{camera}/labels",
                "labels": "1",
                "predict_unlabelled": True,
                "regions": f"/etc/{camera}.yaml",
                "depth_topic": "/depth",
                "error_types": True,
            }
        }
        for camera in ("front", "rear")
    } | {
        "/car/miou_publisher": {
            "ros__parameters": {
                "confusion_topics": [
                    f"/car/deeplab_evaluator_{camera}/confusion" for camera in ("front", "rear")
                ],
                "replayer": "/car/bag_replayer",
                "report_directory": "scores",
            }
        }
    }


def test_foxglove_is_served_by_what_is_installed(monkeypatch):
    module = load("evaluate")
    for is_there, executable in ((False, "miou_foxglove"), (True, "foxglove_bridge")):
        monkeypatch.setattr(module, "_is_installed", lambda _, is_there=is_there: is_there)
        context = LaunchContext()
        for argument in module.ARGUMENTS:
            argument.visit(context)
        context.launch_configurations["foxglove"] = "true"
        assert module.make_nodes(context)[-1].node_executable == executable


def test_rqt_says_what_is_missing_and_opens_a_perspective_for_the_nodes(monkeypatch):
    module = load("evaluate")
    context = LaunchContext()
    for argument in module.ARGUMENTS:
        argument.visit(context)
    context.launch_configurations.update(rqt="true", namespace="test", labels="camvid")
    monkeypatch.setattr(module, "_is_installed", lambda package: package != "rqt_plot")
    with pytest.raises(RuntimeError, match="rqt:=true needs rqt_plot: install"):
        module.make_nodes(context)
    monkeypatch.setattr(module, "_is_installed", lambda _: True)
    (rqt,) = module.make_nodes(context)[-1].actions
    assert rqt.node_executable == "rqt_gui"


def test_cameras_need_topics_of_their_own():
    with pytest.raises(RuntimeError, match=r"image_topic is '/camera/image', expected \{camera\}"):
        evaluate_nodes(cameras="front,rear", image_topic="/camera/image")


def test_a_parameter_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"params_file is '/none.yaml', which is no file"):
        evaluate_nodes(params_file="/none.yaml")
    path = tmp_path / "my.yaml"
    path.write_text("/**: {ros__parameters: {labels: demo}}\n")
    assert len(evaluate_nodes(params_file=str(path))) == 2


def test_an_argument_that_is_nearly_ours_is_warned_of(monkeypatch):
    module, warnings = load("evaluate"), []

    class Logger:
        warning = staticmethod(warnings.append)

    monkeypatch.setattr(module, "get_logger", lambda _: Logger)
    module._warn_of_misspelt(LaunchContext(argv=["lables:=demo", "labels:=demo", "bag:=x"]))
    assert warnings == ["there is no argument lables, so it has no effect; did you mean labels?"]
