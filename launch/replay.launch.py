"""Score a bag and end: the nodes of evaluate.launch.py, and a paced replayer that loses nothing.

ros2 launch deeplab_miou replay.launch.py bag:=drive report_directory:=report

Ends when the bag does, with the replayer's exit status.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from deeplab_miou.launch_status import exit_with

if TYPE_CHECKING:
    from launch import LaunchContext
    from launch.action import Action
    from launch.events.process import ProcessExited

HERE = Path(__file__).resolve().parent

# Passed on as parameters of the replayer unless empty: name, type, description.
REPLAYER_PARAMETERS = {
    "bag": (str, "rosbag2 to score: a folder, or an .mcap or .db3 file"),
    "topics": (list[str], "topics to play, [/a,/b]; all of the bag if empty"),
    "paced": (bool, "true: as fast as the evaluators go, nothing lost; false: by rate"),
    "rate": (float, "recorded seconds to play in one second, unless paced"),
    "start": (float, "seconds after the bag's first message to start at"),
    "duration": (float, "recorded seconds to play from start on; 0 plays to the end"),
    "loop": (bool, "true: begin again at the end, until interrupted"),
}
ARGUMENTS = [
    # No default: ros2 launch says that it is missing.
    DeclareLaunchArgument("bag", description=REPLAYER_PARAMETERS["bag"][1]),
    *(
        DeclareLaunchArgument(name, default_value="", description=text)
        for name, (_, text) in REPLAYER_PARAMETERS.items()
        if name != "bag"
    ),
    DeclareLaunchArgument(
        "replayer_params_file",
        default_value=str(HERE.parent / "config" / "replayer.yaml"),
        description="YAML file with parameters of the replayer; other arguments override it",
    ),
]
# What a replay does otherwise than a live run: wait instead of drop, and end instead of hang.
OVERRIDES = [
    DeclareLaunchArgument(
        "overflow",
        default_value=PythonExpression(
            ["'' if '", LaunchConfiguration("paced"), "' == 'false' else 'block'"]
        ),
        description="what gives way when the queue is full: drop_oldest, drop_newest or block",
    ),
    DeclareLaunchArgument(
        "exit_on_failure",
        default_value="true",
        choices=["true", "false"],
        description="end all when a node cannot be configured, instead of keeping it to be mended",
    ),
    DeclareLaunchArgument(
        "report_directory",
        default_value="deeplab_miou_report",
        description="folder that the report is written to",
    ),
]


def make_replayer(context: LaunchContext) -> list[Action]:
    """Return the replayer, and what happens when it or another node ends."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    namespace = given("namespace").strip("/")
    prefix = f"/{namespace}" if namespace else ""
    cameras = [name.strip() for name in given("cameras").split(",") if name.strip()]
    names = ["_".join(filter(None, (given("evaluator_name"), each))) for each in cameras or [""]]
    replayer = Node(
        package="deeplab_miou",
        executable="bag_replayer",
        namespace=prefix,
        parameters=[
            given("replayer_params_file"),
            {
                name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                for name, (kind, _) in REPLAYER_PARAMETERS.items()
                if given(name)
            }
            | {
                "evaluators": [f"{prefix}/{name}" for name in names],
                "publisher": f"{prefix}/{given('publisher_name')}",
            },
        ],
        ros_arguments=["--log-level", given("log_level")],
        output="screen",
    )

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[Action] | None:
        if context.is_shutdown:
            return None
        if event.action is not replayer:
            status = event.returncode or 1
            reason = f"{event.process_name} ended before the bag"
        else:
            status = event.returncode
            reason = f"the bag was played, exit status {status}"
        exit_with(status)
        return [EmitEvent(event=Shutdown(reason=reason))]

    return [RegisterEventHandler(OnProcessExit(on_exit=on_exit)), replayer]


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(HERE / "evaluate.launch.py")),
    )
    return LaunchDescription(
        [*ARGUMENTS, *OVERRIDES, nodes, OpaqueFunction(function=make_replayer)]
    )
