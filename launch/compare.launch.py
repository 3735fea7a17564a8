"""Compare two networks live: an evaluator and a publisher for each, and the comparer.

ros2 launch deeplab_miou compare.launch.py checkpoint:=current.pth checkpoint_b:=candidate.pth \
    image_topic:=/camera/image label_topic:=/camera/labels
ros2 launch deeplab_miou compare.launch.py source:=topic labels:=cityscapes \
    image_topic:=/segmentation image_topic_b:=/segmentation_new label_topic:=/camera/labels
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import (
    PythonLaunchDescriptionSource,
    get_launch_description_from_python_launch_file,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from deeplab_miou.options.comparer import ComparerOptions
from deeplab_miou.options.declaration import options_of

if TYPE_CHECKING:
    from launch import LaunchContext
    from launch.action import Action

EVALUATE = str(Path(__file__).resolve().parent / "evaluate.launch.py")
# What B may have otherwise than A.
OF_B = ("checkpoint", "source", "image_topic", "device")
# What this file says of each itself.
OURS = (
    "cameras",
    "evaluator_name",
    "predict_unlabelled",
    "publisher_name",
    "record",
    "report_directory",
)
_TEXTS = {option.name: option.text for option in options_of(ComparerOptions)}
OF_BOTH = [
    argument
    for argument in get_launch_description_from_python_launch_file(EVALUATE).get_launch_arguments()
    if argument.name not in OURS
]
ARGUMENTS = [
    *OF_BOTH,
    *(
        DeclareLaunchArgument(
            f"{name}_b",
            default_value=LaunchConfiguration(name),
            description=f"{name} for the network to be judged, if it differs from the other's",
        )
        for name in OF_B
    ),
    DeclareLaunchArgument(
        "predict_unlabelled",
        default_value="true",
        choices=["true", "false"],
        description="when there is nothing to score, predict images without a label too",
    ),
    DeclareLaunchArgument("margin", default_value="0.005", description=_TEXTS["margin"]),
    DeclareLaunchArgument(
        "report_directory",
        default_value="",
        description="folder for the comparison, with both reports in a and b; none if empty",
    ),
    DeclareLaunchArgument(
        "record",
        default_value="",
        description="record the scores of each: record:=drive makes drive_a and drive_b; neither "
        "if empty",
    ),
    DeclareLaunchArgument(
        "comparer_name", default_value="miou_comparer", description="name of the comparer"
    ),
]


def make_actions(context: LaunchContext) -> list[Action]:
    """Return both evaluations and the comparer."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def evaluation(side: str, arguments: dict[str, str]) -> Action:
        report, record = given("report_directory"), given("record")
        arguments = {
            "cameras": "",
            "evaluator_name": f"deeplab_evaluator_{side}",
            "publisher_name": f"miou_publisher_{side}",
            "report_directory": str(Path(report) / side) if report else "",
            "record": f"{record}_{side}" if record else "",
            **arguments,
        }
        source = PythonLaunchDescriptionSource(EVALUATE)
        return GroupAction([IncludeLaunchDescription(source, launch_arguments=arguments.items())])

    prefix = "/".join(["", *filter(None, [given("namespace").strip("/")])])
    comparer = Node(
        package="deeplab_miou",
        executable="miou_comparer",
        name=given("comparer_name"),
        namespace=prefix,
        parameters=[
            *([given("params_file")] if given("params_file") else []),
            {
                # A name without a slash is one of the comparer's own namespace.
                "evaluator_a": "deeplab_evaluator_a",
                "evaluator_b": "deeplab_evaluator_b",
                "margin": ParameterValue(LaunchConfiguration("margin"), value_type=float),
                "labels": ParameterValue(given("labels"), value_type=str),
                "report_directory": ParameterValue(given("report_directory"), value_type=str),
                "use_sim_time": given("use_sim_time") == "true",
                "autostart_exit_on_failure": given("exit_on_failure") == "true",
            },
        ],
        ros_arguments=["--log-level", given("log_level")],
        output="screen",
    )
    # There is one of each viewer: with the network to be judged.
    of_a = dict.fromkeys(("foxglove", "rqt", "watch"), "false")
    of_b = {name: given(f"{name}_b") for name in OF_B}
    return [evaluation("a", of_a), evaluation("b", of_b), comparer]


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_actions)])
