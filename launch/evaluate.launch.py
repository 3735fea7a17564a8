"""Score a live stream: one evaluator for each camera, one publisher that adds them up.

ros2 launch deeplab_miou evaluate.launch.py image_topic:=/camera/image label_topic:=/camera/labels
ros2 launch deeplab_miou evaluate.launch.py cameras:=front,rear image_topic:=/{camera}/image \
    label_topic:=/{camera}/labels
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown, TimerAction
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration, TextSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.launch_status import exit_with
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.evaluator import EvaluatorOptions
from deeplab_miou.options.publisher import PublisherOptions
from deeplab_miou.resources import share_directory
from deeplab_miou.watch.rqt_perspective import adapted_perspective

if TYPE_CHECKING:
    from collections.abc import Callable

    from launch import Action, LaunchContext
    from launch.events.process import ProcessExited

_RQT_PACKAGES = ("rqt_gui", "rqt_plot", "rqt_image_view", "rqt_runtime_monitor")
_RQT_DELAY_S = 5.0

# Passed on as parameters of the evaluators unless empty.
EVALUATOR_PARAMETERS = (
    "image_topic",
    "label_topic",
    "checkpoint",
    "labels",
    "label_info_topic",
    "prediction_label_info_topic",
    "source",
    "device",
    "overflow",
    "predict_unlabelled",
    "regions",
    "depth_topic",
    "error_types",
)
# With several cameras these may be one for all: {camera} in them stands for each camera's name.
OF_EACH_CAMERA = ("label_info_topic", "prediction_label_info_topic", "regions", "depth_topic")
# Likewise of the publisher.
PUBLISHER_PARAMETERS = ("report_directory", "record", "tags", "tags_topic")
_OPTIONS = {
    option.name: option
    for options in (EvaluatorOptions, PublisherOptions)
    for option in options_of(options)
}
_CAMERAS = "; with cameras, {camera} in it stands for each camera's name"
ARGUMENTS = [
    DeclareLaunchArgument(
        name,
        default_value="",
        description=_OPTIONS[name].text
        + (_CAMERAS if name.endswith("_topic") or name in OF_EACH_CAMERA else ""),
    )
    for name in EVALUATOR_PARAMETERS
] + [
    DeclareLaunchArgument(
        "cameras",
        default_value="",
        description="names of several cameras (front,rear): one evaluator each, counts added up",
    ),
    *(
        DeclareLaunchArgument(name, default_value="", description=_OPTIONS[name].description)
        for name in PUBLISHER_PARAMETERS
    ),
    DeclareLaunchArgument(
        "watch",
        default_value="false",
        choices=["true", "false"],
        description="serve a page that shows the scores live; the log has its address",
    ),
    DeclareLaunchArgument(
        "foxglove",
        default_value="false",
        choices=["true", "false"],
        description="let Foxglove connect: by foxglove_bridge if installed, else miou_foxglove",
    ),
    DeclareLaunchArgument(
        "rqt",
        default_value="false",
        choices=["true", "false"],
        description="open rqt with plots of the scores, pictures and diagnostics",
    ),
    DeclareLaunchArgument(
        "single_process",
        default_value="false",
        choices=["true", "false"],
        description="run evaluators and publisher in one process, which saves memory; if one node "
        "fails, all end",
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value="",
        description="YAML file with parameters for the nodes; other arguments override it",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="namespace of all nodes"),
    DeclareLaunchArgument(
        "evaluator_name",
        default_value="deeplab_evaluator",
        description="name of the evaluator; with cameras, _<camera> is appended",
    ),
    DeclareLaunchArgument(
        "publisher_name", default_value="miou_publisher", description="name of the publisher"
    ),
    DeclareLaunchArgument(
        "exit_on_failure",
        default_value="false",
        choices=["true", "false"],
        description="shut everything down if a node cannot be configured",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=["true", "false"],
        description="use the time from /clock",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="log level of the nodes",
    ),
]


def make_nodes(context: LaunchContext) -> list[Action]:
    """Return the nodes that the arguments ask for.

    Raises:
        RuntimeError: cameras whose topics are the same, or a parameter file that is not there.
    """

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    namespace = given("namespace").strip("/")
    prefix = f"/{namespace}" if namespace else ""
    cameras = [name.strip() for name in given("cameras").split(",") if name.strip()]
    common = {
        "use_sim_time": given("use_sim_time") == "true",
        "autostart_exit_on_failure": given("exit_on_failure") == "true",
    }

    # launch_ros would only warn, and the nodes would run with their defaults.
    if given("params_file") and not Path(given("params_file")).is_file():
        raise RuntimeError(f"params_file is {given('params_file')!r}, which is no file")
    _warn_of_misspelt(context)

    # A replay, which includes this file, sees to its ends itself.
    alone = "bag" not in context.launch_configurations
    ended = _end if alone and common["autostart_exit_on_failure"] else None

    files = [given("params_file")] if given("params_file") else []

    def node(executable: str, name: str, parameters: dict[str, object]) -> Node:
        return Node(
            package="deeplab_miou",
            executable=executable,
            name=name,
            namespace=prefix,
            parameters=[*files, common | parameters],
            ros_arguments=["--log-level", given("log_level")],
            output="screen",
            on_exit=ended,
        )

    evaluators = {}
    for camera in cameras or [""]:
        values = {name: given(name) for name in EVALUATOR_PARAMETERS}
        if camera:
            for topic in ("image_topic", "label_topic"):
                if "{camera}" not in values[topic]:
                    raise RuntimeError(
                        f"{topic} is {values[topic]!r}, expected {{camera}} in it, for example "
                        f"/{{camera}}/{topic.split('_')[0]}, because cameras are given"
                    )
                values[topic] = values[topic].replace("{camera}", camera)
            for name in OF_EACH_CAMERA:
                values[name] = values[name].replace("{camera}", camera)
        name = "_".join(filter(None, (given("evaluator_name"), camera)))
        # A label map that is named 1 is no number.
        evaluators[name] = {
            key: ParameterValue(TextSubstitution(text=value), value_type=_OPTIONS[key].kind)
            for key, value in values.items()
            if value
        }
    publisher: dict[str, object] = {
        "confusion_topics": [f"{prefix}/{name}/confusion" for name in evaluators]
    }
    publisher["replayer"] = f"{prefix}/bag_replayer"
    texts = {name: given(name) for name in PUBLISHER_PARAMETERS}
    publisher |= {n: ParameterValue(v, value_type=str) for n, v in texts.items() if v}
    if given("single_process") == "true":
        named = evaluators | {given("publisher_name"): publisher}
        path = _parameter_file(context, {f"{prefix}/{name}": named[name] for name in named})
        names = [word for name in evaluators for word in ("--evaluator", name)]
        nodes = [
            Node(
                package="deeplab_miou",
                executable="miou_single_process",
                namespace=prefix,
                arguments=[*names, "--publisher", given("publisher_name")],
                parameters=[*files, common, path],
                ros_arguments=["--log-level", given("log_level")],
                output="screen",
                on_exit=ended,
            )
        ]
    else:
        nodes = [
            *(node("deeplab_evaluator", name, values) for name, values in evaluators.items()),
            node("miou_publisher", given("publisher_name"), publisher),
        ]
    viewers = _viewers(given, node, files, prefix)
    return nodes + viewers + _rqt(given, prefix, evaluator=next(iter(evaluators)))


def _parameter_file(context: LaunchContext, nodes: dict[str, dict[str, object]]) -> str:
    """Write the parameters of several nodes of one process; return the file's path."""
    sections = {
        name: {
            "ros__parameters": {
                key: value.evaluate(context) if isinstance(value, ParameterValue) else value
                for key, value in parameters.items()
            }
        }
        for name, parameters in nodes.items()
    }
    path = Path(mkdtemp()) / "parameters.yaml"
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return str(path)


def _viewers(
    given: Callable[[str], str], node: Callable[..., Node], files: list[str], prefix: str
) -> list[Node]:
    """Return what shows the scores; a port that is taken is no reason to end an evaluation."""
    stays = {"autostart_exit_on_failure": False}
    nodes = []
    if given("watch") == "true":
        shown = {
            "publisher": f"{prefix}/{given('publisher_name')}",
            "replayer": f"{prefix}/bag_replayer",
            "comparer": f"{prefix}/miou_comparer",
        }
        nodes.append(node("miou_watch", "miou_watch", shown | stays))
    if given("foxglove") == "true" and _is_installed("foxglove_bridge"):
        nodes.append(
            Node(
                package="foxglove_bridge",
                executable="foxglove_bridge",
                parameters=[{"address": "127.0.0.1"}, *files],
                output="screen",
            )
        )
    elif given("foxglove") == "true":
        nodes.append(node("miou_foxglove", "miou_foxglove", stays))
    return nodes


def _rqt(given: Callable[[str], str], prefix: str, evaluator: str) -> list[Action]:
    """Return what opens rqt a while later: rqt_plot forgets topics that it does not find."""
    if given("rqt") != "true":
        return []
    missing = [package for package in _RQT_PACKAGES if not _is_installed(package)]
    if missing:
        raise RuntimeError(
            f"rqt:=true needs {', '.join(missing)}: install ros-$ROS_DISTRO-rqt-common-plugins and "
            "ros-$ROS_DISTRO-rqt-runtime-monitor"
        )
    text = adapted_perspective(
        (share_directory() / "config" / "deeplab_miou.perspective").read_text(encoding="utf-8"),
        publisher=f"{prefix}/{given('publisher_name')}",
        evaluator=f"{prefix}/{evaluator}",
        classes=_number_of_classes(given("labels"), given("checkpoint")),
    )
    # rqt names a perspective after its file, and keeps it under that name.
    path = Path(mkdtemp()) / "deeplab_miou.perspective"
    path.write_text(text, encoding="utf-8")
    rqt = Node(
        package="rqt_gui",
        executable="rqt_gui",
        arguments=["--perspective-file", str(path)],
        output="screen",
    )
    return [TimerAction(period=_RQT_DELAY_S, actions=[rqt])]


def _number_of_classes(labels: str, checkpoint: str) -> int | None:
    """Return how many classes the label map has, as far as the arguments tell."""
    name = labels or ("demo" if checkpoint in ("", "demo") else "")
    try:
        return load_label_map(name).num_classes if name else None
    except DeeplabMiouError:
        # The evaluator says what is wrong with it.
        return None


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def _end(event: ProcessExited, context: LaunchContext) -> list[Action]:
    """End the launch, and with the status of the node that ended it."""
    if context.is_shutdown:
        return []
    exit_with(event.returncode or 1)
    return [Shutdown(reason=f"{event.process_name} ended")]


def _warn_of_misspelt(context: LaunchContext) -> None:
    """Warn of arguments that are nearly ours: launch takes any name without a word."""
    names = [argument.name for argument in ARGUMENTS]
    if "comparer_name" in context.launch_configurations:
        # compare.launch.py, which includes this file, has some of them for a second network too.
        names += [f"{name}_b" for name in names]
    for given in context.argv:
        name = given.partition(":=")[0]
        if name not in names and (close := get_close_matches(name, names, n=1, cutoff=0.8)):
            get_logger("deeplab_miou").warning(
                f"there is no argument {name}, so it has no effect; did you mean {close[0]}?"
            )


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=make_nodes)])
