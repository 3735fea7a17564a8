from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from std_msgs.msg import String
from std_srvs.srv import Trigger

from deeplab_miou.errors import ConfigurationError

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


@pytest.fixture
def make(monkeypatch, recorder):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    nodes = []

    def make(failing=None, arguments=()):
        rclpy.init(args=["--ros-args", *arguments])
        nodes.append(recorder(failing))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


def test_steps_in_order(make):
    node = make()
    for trigger, state in (
        (node.trigger_configure, "inactive"),
        (node.trigger_activate, "active"),
        (node.trigger_deactivate, "inactive"),
        (node.trigger_cleanup, "unconfigured"),
        (node.trigger_configure, "inactive"),
        (node.trigger_activate, "active"),
    ):
        assert trigger() == SUCCESS
        assert node.state_label == state
    assert node.trigger_shutdown() == SUCCESS
    assert node.state_label == "finalized"
    cycle = ["configure", "activate", "deactivate"]
    assert node.steps == [*cycle, "cleanup", *cycle, "finish", "cleanup"]


@pytest.mark.parametrize("depth", range(3))
def test_shutdown_from_every_state(make, depth):
    node = make()
    for trigger in (node.trigger_configure, node.trigger_activate)[:depth]:
        trigger()
    assert node.trigger_shutdown() == SUCCESS
    down = ["finish", "cleanup"]
    assert (
        node.steps
        == [
            [],
            ["configure", *down],
            ["configure", "activate", "deactivate", *down],
        ][depth]
    )


@pytest.mark.parametrize("trigger", ["cleanup", "shutdown"])
def test_last_messages_are_acknowledged_before_their_publishers_go(make, trigger):
    node = make()
    node.trigger_configure()
    publisher = node.create_publisher(String, "last", 1)
    publisher.wait_for_all_acked = lambda _: node.steps.append("acknowledged")
    assert getattr(node, f"trigger_{trigger}")() == SUCCESS
    assert node.steps[-2:] == ["acknowledged", "cleanup"]


def test_users_mistake_fails_the_step_and_can_be_mended(make, capfd):
    node = make({"configure": ConfigurationError("no file x.pt")})
    assert node.trigger_configure() == FAILURE
    assert node.state_label == "unconfigured"
    assert node.steps == ["configure", "cleanup"]
    node.failing = {}
    assert node.trigger_configure() == SUCCESS
    written = capfd.readouterr().err
    assert "cannot configure: no file x.pt" in written
    assert "Traceback" not in written


def test_failed_activation_is_undone(make):
    node = make({"activate": ConfigurationError("no camera")})
    node.trigger_configure()
    assert node.trigger_activate() == FAILURE
    assert node.state_label == "inactive"
    assert node.steps == ["configure", "activate", "deactivate"]


@pytest.mark.parametrize("step", ["configure", "activate", "deactivate"])
def test_bug_shows_its_traceback_and_leads_back_to_unconfigured(make, capfd, step):
    node = make({step: KeyError("bug")})
    results = [node.trigger_configure()]
    if step != "configure":
        results.append(node.trigger_activate())
    if step == "deactivate":
        node.failing = {}
        node.deactivate = lambda: node.failing["gone"]  # fails once more while going down
        results.append(node.trigger_deactivate())
        assert node.state_label == "finalized"
    else:
        assert node.state_label == "unconfigured"
    assert results[-1] == ERROR
    assert "Traceback" in capfd.readouterr().err
    assert node.steps[-1] == "cleanup"


def test_bad_overrides_wait_for_configure(make, capfd):
    node = make(arguments=["-p", "path:=7", "-p", "level:=12", "-p", "pth:=y"])
    assert node.trigger_configure() == FAILURE
    written = capfd.readouterr().err
    assert "this node has no parameter pth, so it has no effect" in written
    assert "parameter path is 7, expected a string" in written
    assert "parameter level is 12, expected at most 9" in written
    for name, value in (("path", "y"), ("level", 2)):
        (result,) = node.set_parameters([RosParameter(name, value=value)])
        assert result.successful, result.reason
    assert node.trigger_configure() == SUCCESS
    assert node.settings.path == "y"
    assert node.settings.weights == ()


def test_a_parameter_of_another_node_of_ours_is_no_mistake(make, tmp_path, capfd):
    shared = tmp_path / "shared.yaml"
    shared.write_text("/**:\n  ros__parameters:\n    window_frames: 7\n    window_frame: 8\n")
    make(arguments=["--params-file", str(shared)])
    written = capfd.readouterr().err
    assert "this node has no parameter window_frame," in written
    assert "did you mean window_frames?" in written
    assert "window_frames is none" not in written


def test_empty_list_keeps_its_type(make):
    node = make()
    assert node.get_parameter("weights").type_ == RosParameter.Type.DOUBLE_ARRAY


def test_changes_while_configured(make):
    node = make()
    node.trigger_configure()
    for name, value, reason in (
        ("level", 3, ""),
        ("level", 30, "expected at most 9"),
        ("level", "x", "expected a whole number"),
        ("path", "z", "clean the node up"),
    ):
        (result,) = node.set_parameters([RosParameter(name, value=value)])
        assert result.successful == (not reason)
        assert reason in result.reason
    assert node.steps == ["configure", "changed {'level': 3}"]
    assert node.settings.level == 3
    assert node.settings.path == "x"


def test_refused_change_keeps_the_old_value(make):
    node = make({"changed {'level': 3}": ConfigurationError("three is unlucky")})
    node.trigger_configure()
    (result,) = node.set_parameters([RosParameter("level", value=3)])
    assert result.reason == "three is unlucky"
    assert node.settings.level == 1
    assert node.get_parameter("level").value == 1


def call(node, callback):
    """Call a service of a node as its executor does."""
    service = node.create_own_service(Trigger, "~/own", callback, ReentrantCallbackGroup())
    response = service.callback(Trigger.Request(), Trigger.Response())
    node.destroy_service(service)
    return response


def succeed(_request, response):
    response.success = True
    return response


def test_services_work_only_on_what_is_configured(make):
    node = make()
    for trigger, is_configured in (
        (lambda: None, False),
        (node.trigger_configure, True),
        (node.trigger_activate, True),
        (node.trigger_deactivate, True),
        (node.trigger_cleanup, False),
        (node.trigger_configure, True),
        (node.trigger_shutdown, False),
    ):
        trigger()
        response = call(node, succeed)
        assert response.success == is_configured
        assert is_configured or response.message == (
            f"the node is {node.state_label}, expected inactive or active"
        )


def test_a_transition_waits_for_the_callbacks_in_hand(make):
    node = make()
    node.trigger_configure()
    inside, leave = threading.Event(), threading.Event()
    run = threading.Thread(
        target=node.guarded(lambda: (inside.set(), leave.wait(20), node.steps.append("left")))
    )
    run.start()
    assert inside.wait(20)
    threading.Timer(0.05, leave.set).start()
    node.trigger_activate()
    run.join()
    assert node.steps[:3] == ["configure", "left", "activate"]


def test_what_callbacks_wait_for_is_let_go_before_they_are_waited_for(make):
    node = make()
    node.trigger_configure()
    node.trigger_activate()
    inside, leave = threading.Event(), threading.Event()
    node.interrupt = leave.set
    run = threading.Thread(target=node.guarded(lambda: (inside.set(), leave.wait())))
    run.start()
    assert inside.wait(20)
    assert node.trigger_deactivate() == SUCCESS
    run.join()


def test_a_bug_in_a_service_ends_the_node_and_is_an_answer(make, capfd):
    node = make()
    node.trigger_configure()
    assert not call(node, lambda *_: 1 / 0).success
    assert isinstance(node.failure, ZeroDivisionError)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_bug_in_a_change_of_parameters_ends_the_node_and_is_a_refusal(make):
    node = make({"changed {'level': 3}": KeyError("bug")})
    node.trigger_configure()
    (result,) = node.set_parameters([RosParameter("level", value=3)])
    assert not result.successful
    assert isinstance(node.failure, KeyError)


def test_parameters_are_not_changed_in_a_transition(make):
    node = make()
    reasons = []

    def activate():
        (result,) = node.set_parameters([RosParameter("level", value=3)])
        reasons.append(result.reason)

    node.activate = activate
    node.trigger_configure()
    node.trigger_activate()
    assert reasons == ["the node is activating: set the parameter again afterwards"]
    assert node.settings.level == 1
