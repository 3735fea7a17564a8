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
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from deeplab_miou.launch_status import exit_with
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.replayer import ReplayerOptions

if TYPE_CHECKING:
    from launch import LaunchContext
    from launch.action import Action
    from launch.events.process import ProcessExited

HERE = Path(__file__).resolve().parent

# Passed on as parameters of the replayer unless empty.
REPLAYER_PARAMETERS = ("bag", "topics", "paced", "rate", "start", "duration", "loop")
_OPTIONS = {option.name: option for option in options_of(ReplayerOptions)}
ARGUMENTS = [
    # No default for the bag: ros2 launch says that it is missing.
    *(
        DeclareLaunchArgument(
            name,
            default_value=None if name == "bag" else "",
            description=_OPTIONS[name].text,
        )
        for name in REPLAYER_PARAMETERS
    ),
    DeclareLaunchArgument(
        "replayer_params_file",
        default_value=str(HERE.parent / "config" / "replayer.yaml"),
        description="YAML file with parameters for the replayer; other arguments override it",
    ),
]
# What a replay does otherwise than a live run: end instead of hang, and write a report.
OVERRIDES = [
    DeclareLaunchArgument(
        "exit_on_failure",
        default_value="true",
        choices=["true", "false"],
        description="shut everything down if a node cannot be configured",
    ),
    DeclareLaunchArgument(
        "report_directory",
        default_value="deeplab_miou_report",
        description="folder for the report",
    ),
]


def _type(name: str) -> type:
    option = _OPTIONS[name]
    return list[option.kind] if option.is_list else option.kind


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
                name: ParameterValue(LaunchConfiguration(name), value_type=_type(name))
                for name in REPLAYER_PARAMETERS
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
