from __future__ import annotations

import itertools
import json
import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import Account, ConfusionMatrix, MeanIoU
from diagnostic_msgs.msg import DiagnosticArray
from graph_support import (
    BEST_EFFORT,
    EVALUATOR,
    IMAGE,
    KEPT,
    LABEL,
    LATCHED,
    LIVE,
    PUBLISHER,
    Camera,
    account,
    check_identity,
    frames,
    image,
    matrix,
)
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

LABELS = """
name: three
unmapped: {unmapped}
classes: [{{name: road}}, {{name: car}}, {{name: sky}}]
"""


@pytest.fixture
def start(start_evaluator, tmp_path):
    """Start an evaluator of three classes."""

    def start(*, unmapped="ignore", environment=None, **parameters):
        labels = tmp_path / "three.yaml"
        labels.write_text(LABELS.format(unmapped=unmapped))
        return start_evaluator(environment=environment, **{"labels": str(labels), **parameters})

    return start


@pytest.fixture
def camera(graph):
    return Camera(graph)


@pytest.fixture
def live_camera(graph):
    return Camera(graph, LIVE)


def test_known_pairs_give_the_known_matrix_and_score(start, camera, ros_process, graph):
    start()
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera.listen().send(7, [[0, 1, 2, 0, 1]], [[0, 1, 1, 0, 2]])
    score = camera.frames.wait()
    assert (score.stream, score.outcome, score.sequence) == ("pair", "evaluated", 1)
    assert (score.header.stamp.sec, score.header.frame_id) == (7, "camera")
    assert (list(score.cells), list(score.counts)) == ([0, 5, 6, 9], [2, 1, 1, 1])
    assert score.miou == pytest.approx(4 / 9)
    state = camera.state(frames(1))
    assert matrix(state).tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert json.loads(state.provenance)["label_map"] == "three"
    result = results.wait(lambda message: message.labelled_pixels == 5)
    assert result.miou == pytest.approx(4 / 9)
    assert [entry.iou for entry in result.classes] == pytest.approx([1, 1 / 3, 0])
    assert [entry.name for entry in result.classes] == ["road", "car", "sky"]


def test_many_frames_add_up_to_the_last_count(start, camera):
    start()
    camera.listen()
    rng = np.random.default_rng(0)
    expected = np.zeros((3, 4), np.int64)
    for stamp in range(1, 101):
        label, prediction = rng.integers(0, 3, (2, 20, 30))
        prediction[rng.random((20, 30)) < 0.1] = 9
        label[rng.random((20, 30)) < 0.1] = 255
        for truth, guess in zip(label.ravel(), prediction.ravel(), strict=True):
            if truth != 255:
                expected[truth, min(guess, 3)] += 1
        camera.send(stamp, prediction, label)
    state = camera.state(frames(100))
    assert matrix(state).tolist() == expected.tolist()
    assert state.ignored_pixels == 100 * 600 - expected.sum()
    camera.graph.wait_until(lambda: len(camera.frames.messages) == 100)
    assert {score.sequence for score in camera.frames.messages} == {*range(1, 101)}


GARBAGE = {
    "bad_encoding": {"encoding": "octree"},
    "bad_size": {"height": 0, "width": 0},
    "truncated_data": {"height": 400},
}


@pytest.mark.parametrize(
    ("overflow", "loses"), [("drop_oldest", True), ("drop_newest", True), ("block", False)]
)
def test_predictions_of_a_topic_in_a_rush_are_all_accounted_for(start, camera, overflow, loses):
    """Who receives scores too: what had to wait comes first and meets a queue of one."""
    start(overflow=overflow, queue_size=1, input_depth=1000)
    camera.listen()
    size = (480, 640) if loses else (48, 64)
    total = 300
    for sec in range(1, total + 1):
        camera.send(sec, np.full(size, sec % 3), np.full(size, sec % 3))
    state = camera.state(
        lambda state: (
            state.images.received == state.labels.received == total
            and not (state.images.waiting or state.labels.waiting)
        )
    )
    lost = account(state.images).get("queue_full", 0)
    assert state.images.evaluated == state.frames == total - lost
    assert account(state.labels) == account(state.images) == ({"queue_full": lost} if lost else {})
    assert loses or not lost
    assert sum(state.counts) == state.frames * size[0] * size[1]
    camera.frames.wait(lambda score: score.sequence == total)


def test_garbage_is_counted_under_its_reason_and_the_stream_goes_on(start, camera):
    node = start(unmapped="error")
    camera.listen()
    good = np.array([[0, 1, 2]])
    stamp = 0
    for fields in [*GARBAGE.values(), {"step": 1}, {"height": 16384, "width": 16384}]:
        for publisher in (camera.images, camera.labels):
            stamp += 1
            publisher.publish(image(good, stamp, **fields))
    camera.send(100, good, [[0, 1, 77]])  # unknown label id
    camera.send(101, good, np.zeros((3, 3)))  # another view
    camera.images.publish(image(good, 102))
    camera.images.publish(image(good, 102))  # the same stamp twice
    camera.labels.publish(image(good, 102))
    camera.send(103, good, good)
    camera.state(frames(2))
    assert camera.call("flush").success
    state = camera.state(lambda m: m.images.waiting == m.labels.waiting == 0 and m.frames == 2)
    both = {
        "bad_encoding": 1,
        "bad_size": 3,
        "truncated_data": 1,
        "unknown_label": 1,
        "size_mismatch": 1,
    }
    assert account(state.images) == both | {"duplicate_stamp": 1}
    assert account(state.labels) == both
    assert matrix(state).tolist() == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]
    for reason in ("bad_encoding", "unknown_label", "size_mismatch", "duplicate_stamp"):
        node.wait_for_output(reason)
    expected = {*both, "duplicate_stamp", "evaluated"}
    camera.graph.wait_until(
        lambda: {score.outcome for score in camera.frames.messages} == expected,
        explain=lambda: f"outcomes {[score.outcome for score in camera.frames.messages]}",
    )
    assert node.returncode is None


def test_labels_that_the_map_does_not_know_are_named(start, camera):
    node = start()
    camera.connect()
    camera.send(1, label=((0, 1, 255),))
    camera.send(2, label=((0, 77, 78),))
    camera.send(3, label=((77, 77, 0),))
    state = camera.state(frames(3))
    assert (state.unmapped_pixels, state.ignored_pixels) == (4, 5)
    node.stop()
    (line,) = node.lines("are not scored")
    assert f"label of {LABEL} at 2.000 s: 67% of its pixels are not scored" in line
    assert "label map three does not know raw id 77 (1 pixel), raw id 78 (1 pixel)" in line


def test_labels_that_miss_their_images_narrowly_are_told_with_the_tolerance(start, camera, graph):
    node = start()
    camera.connect()
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    # Five pairs agree, four labels are stamped 1 ms early, the last image passes them all.
    for sec in range(1, 6):
        camera.send(sec)
    for sec in range(6, 10):
        camera.images.publish(image(((0, 1, 2),), sec))
        camera.labels.publish(image(((0, 1, 1),), sec - 1, 999_000_000))
    camera.images.publish(image(((0, 1, 2),), 12))
    camera.state(frames(5))
    told = "4 of 9 labels found no image, though one lies near 4 of them (1 ms away"
    diagnostics.wait(lambda m: m.status[0].level == b"\x01" and told in m.status[0].message)
    assert "sync_tolerance 0.001 would pair these" in node.wait_for_output(told)


def test_reset_starts_from_zero(start, camera):
    start()
    camera.connect().send(1, [[0]], [[0]])
    before = camera.state(frames(1))
    assert camera.call("reset").success
    after = camera.state(lambda message: message.reset_count == 1)
    assert (after.frames, sum(after.counts), after.images.received) == (0, 0, 0)
    assert after.run_id == before.run_id
    camera.send(1, [[1]], [[2]])
    state = camera.state(lambda message: message.reset_count == 1 and message.frames == 1)
    assert matrix(state)[2, 1] == 1


def test_late_publisher_gets_the_whole_state(start, camera, ros_process, graph):
    start()
    camera.connect()
    for stamp in range(1, 6):
        camera.send(stamp, [[0, 1]], [[0, 1]])
    camera.state(frames(5))
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    assert results.wait(frames(5)).miou == 1


# Fast DDS forgets a participant that it has not heard of for 20 s, if that does not say otherwise.
SHORT_LEASE = """<?xml version="1.0" encoding="UTF-8" ?>
<profiles xmlns="http://www.eprosima.com">
  <participant profile_name="short_lease" is_default_profile="true">
    <rtps>
      <builtin>
        <discovery_config>
          <leaseDuration><sec>4</sec></leaseDuration>
          <leaseAnnouncement><sec>1</sec></leaseAnnouncement>
        </discovery_config>
      </builtin>
    </rtps>
  </participant>
</profiles>
"""


def test_publisher_adds_up_an_evaluator_that_died_was_forgotten_and_started_again(
    start, live_camera, ros_process, graph, tmp_path
):
    profiles = tmp_path / "profiles.xml"
    profiles.write_text(SHORT_LEASE)
    # As Fast DDS 2 (Jazzy) and 3 (Kilted) call it.
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    first = start(environment=dict.fromkeys(names, str(profiles)))
    live_camera.connect().send(1, [[0, 1]], [[0, 1]])
    results.wait(frames(1))
    first.send(signal.SIGKILL)
    first.wait()
    live_camera.disconnect()
    start()
    live_camera.connect().send(2, [[0, 1]], [[1, 1]])
    result = results.wait(frames(2))
    assert result.pixel_accuracy == 0.75


def test_subscriptions_follow_what_is_offered(start, graph):
    node = start()
    camera = Camera(graph, BEST_EFFORT).connect()
    stamps = itertools.count(1)
    # What is sent with best effort may be lost.
    graph.repeat_until(
        lambda: camera.send(next(stamps)),
        lambda: any(state.frames for state in camera.states.messages),
    )
    assert "best_effort" in node.wait_for_output(f"subscribed to {IMAGE}")


def test_latched_labels_from_before_the_start_are_taken(start, camera):
    camera.send(1)
    start()
    camera.state(frames(1))


@pytest.mark.parametrize("how", ["pause", "lifecycle", "stranger"])
def test_latched_messages_are_received_once_however_often_it_subscribes(start, camera, graph, how):
    start()
    camera.connect()
    for sec in range(1, 6):
        camera.send(sec)
    camera.state(frames(5))
    if how == "stranger":
        # Volatile, so that another subscription is needed; when it goes, yet another would do.
        others = [graph.node.create_publisher(Image, topic, LIVE) for topic in (IMAGE, LABEL)]
        graph.wait_until(lambda: all(other.get_subscription_count() for other in others))
        for other in others:
            graph.node.destroy_publisher(other)
        reports = graph.subscribe(DiagnosticArray, "/diagnostics", LIVE)
        reports.wait(lambda report: str(report).count(", 1 publisher, ") == 2)
    elif how == "pause":
        assert graph.call(SetBool, f"{EVALUATOR}/pause", SetBool.Request(data=True)).success
        camera.disconnect()
        camera.send(6)
        assert graph.call(SetBool, f"{EVALUATOR}/pause", SetBool.Request(data=False)).success
    else:
        assert graph.transition(EVALUATOR, "deactivate")
        camera.disconnect()
        camera.send(6)
        assert graph.transition(EVALUATOR, "activate")
    camera.connect().send(100)
    state = camera.state(lambda message: message.header.stamp.sec == 100)
    assert state.images.received == state.labels.received == state.frames == 6


def test_incompatible_quality_of_service_is_told_with_both_sides(start, graph):
    node = start(image_reliability="reliable")
    Camera(graph, BEST_EFFORT)
    line = node.wait_for_output("request reliability reliable")
    assert IMAGE in line
    assert "best_effort" in line


def test_a_topic_that_nobody_publishes_is_told_with_what_is_there(start, graph):
    graph.node.create_publisher(Image, "/front/image", 1)
    node = start(startup_timeout=0.5, autostart=False)
    graph.bring_up(EVALUATOR)
    assert "/front/image" in node.wait_for_output(f"topic {IMAGE}: nobody publishes")
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    status = diagnostics.wait(lambda m: m.status[0].message.startswith(f"topic {IMAGE}"))
    assert status.status[0].level == b"\x01"


def test_the_end_of_a_recording_is_told_once_and_stays_in_diagnostics(start, graph):
    images = graph.node.create_publisher(Image, IMAGE, LIVE)
    labels = graph.node.create_publisher(Image, LABEL, LIVE)
    node = start(startup_timeout=0.5)
    node.wait_for_output(f"subscribed to {IMAGE}")
    node.wait_for_output(f"subscribed to {LABEL}")
    graph.node.destroy_publisher(images)
    graph.node.destroy_publisher(labels)
    ended = f"topic {IMAGE}: nobody has published images there for"
    node.wait_for_output(ended)
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    status = None
    # Longer than it takes until a warning that goes on is logged again.
    for _ in range(7):
        status = diagnostics.wait(lambda m: m.status[0].message.startswith(ended), after=status)
        assert status.status[0].level == b"\x01"
    assert len(node.lines(ended)) == 1


def test_compressed_images_are_found_by_their_type(start, graph):
    cv2 = pytest.importorskip("cv2")
    start()
    states = graph.subscribe(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED)
    publishers = [graph.publisher(CompressedImage, topic, KEPT) for topic in (IMAGE, LABEL)]
    encoded = cv2.imencode(".png", np.array([[0, 1, 2]], np.uint8))[1].tobytes()
    for publisher in publishers:
        message = CompressedImage(format="mono8; png compressed ")
        message.header.stamp.sec = 3
        message.data.frombytes(encoded)
        publisher.publish(message)
    assert matrix(states.wait(frames(1))).tolist() == np.eye(3, 4, dtype=int).tolist()


def test_the_type_in_use_stays_while_it_is_published(start, graph, stranger):
    cv2 = pytest.importorskip("cv2")
    node = start()
    states = graph.subscribe(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED)
    camera = graph.publisher(CompressedImage, IMAGE, LIVE)
    labels = graph.publisher(Image, LABEL, LIVE)
    intruder = stranger.node.create_publisher(Image, IMAGE, LIVE)
    line = node.wait_for_output(f"topic {IMAGE} has publishers of several types")
    assert "sensor_msgs/msg/CompressedImage is received, messages from /stranger are not" in line

    def send(sec):
        message = CompressedImage(format="png")
        message.header.stamp.sec = sec
        encoded = cv2.imencode(".png", np.array([[0, 1, 2]], np.uint8))[1]
        message.data.frombytes(encoded.tobytes())
        camera.publish(message)
        labels.publish(image([[0, 1, 2]], sec))

    send(1)
    states.wait(frames(1))
    for is_paused in (True, False):
        request = SetBool.Request(data=is_paused)
        assert graph.call(SetBool, f"{EVALUATOR}/pause", request).success
        graph.wait_until(lambda: camera.get_subscription_count() != is_paused)  # noqa: B023
        graph.wait_until(lambda: labels.get_subscription_count() != is_paused)  # noqa: B023
    send(2)
    states.wait(frames(2))
    assert not intruder.get_subscription_count()
    # When the camera is gone, whoever is left is taken.
    graph.node.destroy_publisher(camera)
    graph.wait_until(intruder.get_subscription_count)


def test_account_is_told_while_somebody_listens(start, camera, graph):
    start()
    accounts = graph.subscribe(Account, f"{EVALUATOR}/account", LIVE)
    camera.connect().images.publish(image([[0]], 1))
    told = accounts.wait(lambda message: message.images.waiting == 1)
    check_identity(told)
    assert camera.call("flush").success
    told = accounts.wait(lambda message: message.images.received and not message.images.waiting)
    assert account(told.images) == {"unmatched_image": 1}


def test_pictures_are_published_while_watched(start, camera, graph):
    start()
    camera.connect()
    predictions = graph.subscribe(Image, f"{EVALUATOR}/prediction")
    overlays = graph.subscribe(Image, f"{EVALUATOR}/overlay")
    truths = graph.subscribe(Image, f"{EVALUATOR}/ground_truth")
    mistakes = graph.subscribe(Image, f"{EVALUATOR}/mistakes")
    stamps = itertools.count(1)
    graph.repeat_until(
        lambda: camera.send(next(stamps), [[0, 1, 2]], [[0, 255, 1]]),
        lambda: all(each.messages for each in (predictions, overlays, truths, mistakes)),
    )
    prediction, overlay = predictions.wait(), overlays.wait()
    assert (prediction.encoding, list(prediction.data)) == ("mono8", [0, 1, 2])
    assert (overlay.encoding, overlay.height, overlay.width) == ("rgb8", 1, 3)
    assert overlay.header.stamp.sec > 0
    truth = truths.wait()
    assert (truth.encoding, truth.height, truth.width) == ("rgb8", 1, 3)
    # Both over the same picture: they differ where the prediction is wrong.
    assert list(truth.data[:3]) == list(overlay.data[:3])
    assert list(truth.data[6:]) != list(overlay.data[6:])
    wrong = np.reshape(mistakes.wait().data, (3, 3)).tolist()
    # Right is dark and grey, not scored is black, wrong is red.
    assert len(set(wrong[0])) == 1
    assert wrong[1] == [0, 0, 0]
    assert wrong[2] == [235, 60, 50]


def test_pause_receives_nothing_and_goes_on(start, live_camera, graph):
    start()
    live_camera.connect().send(1, [[0]], [[0]])
    live_camera.state(frames(1))
    assert graph.call(SetBool, f"{EVALUATOR}/pause", SetBool.Request(data=True)).success
    live_camera.disconnect()
    live_camera.send(2, [[0]], [[0]])
    assert graph.call(SetBool, f"{EVALUATOR}/pause", SetBool.Request(data=False)).success
    live_camera.connect().send(3, [[0]], [[0]])
    state = live_camera.state(frames(2))
    assert state.images.received == 2


def test_lifecycle_keeps_counts_over_deactivation_and_drops_them_over_cleanup(
    start, live_camera, graph
):
    start()
    live_camera.connect().send(1, [[0]], [[0]])
    live_camera.state(frames(1))
    assert graph.transition(EVALUATOR, "deactivate")
    live_camera.disconnect()
    assert graph.transition(EVALUATOR, "activate")
    live_camera.connect().send(2, [[0]], [[0]])
    live_camera.state(frames(2))
    for label in ("deactivate", "cleanup"):
        assert graph.transition(EVALUATOR, label), label
    live_camera.disconnect()
    for label in ("configure", "activate"):
        assert graph.transition(EVALUATOR, label), label
    live_camera.connect().send(3, [[0]], [[0]])
    live_camera.state(lambda message: message.reset_count == 1 and message.frames == 1)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"labels": "no_such_map"}, "no_such_map"),
        ({"source": "network", "checkpoint": "/nowhere/net.safetensors"}, "/nowhere/net"),
        ({"sync_tolerance": -1.0}, "sync_tolerance is -1.0"),
        ({"image_topic": "/front left/image"}, "image_topic: '/front left/image' is not a topic"),
        ({"label_topic": ""}, "label_topic: '' is not a topic name: failed to resolve name: topic"),
        ({"overflow": "explode"}, "overflow is 'explode'"),
        ({"source": "network", "labels": "demo", "device": "cuda:77"}, "cuda:77"),
    ],
)
def test_a_bad_parameter_fails_to_configure_with_one_line_and_can_be_mended(
    start, graph, parameters, said
):
    node = start(**parameters)
    line = node.wait_for_output("cannot configure:")
    assert said in line
    assert "Traceback" not in node.output
    graph.wait_for_state(EVALUATOR, "unconfigured")
    mend = {
        "labels": "camvid11",
        "source": "topic",
        "sync_tolerance": 0.0,
        "overflow": "block",
        "image_topic": IMAGE,
        "label_topic": LABEL,
    }
    for name in parameters.keys() & mend.keys():
        assert not graph.set_parameter(EVALUATOR, name, mend[name])
    assert graph.transition(EVALUATOR, "configure")
    assert graph.transition(EVALUATOR, "activate")


def test_what_can_change_while_running_does_and_the_rest_is_refused(start, camera, graph):
    start(publish_period=3600.0)
    camera.connect().send(1)
    assert not graph.set_parameter(EVALUATOR, "publish_period", 0.05)
    camera.state(frames(1))
    assert "clean the node up" in graph.set_parameter(EVALUATOR, "queue_size", 5)
    assert "out of range" in graph.set_parameter(EVALUATOR, "startup_timeout", 1e9)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(start, camera, number):
    node = start()
    camera.connect().send(1, [[0]], [[0]])
    camera.state(frames(1))
    status, seconds = node.stop(number)
    assert status == 0
    assert seconds < 3
    assert node.lines("1 frame evaluated of 1 image and 1 label received")
