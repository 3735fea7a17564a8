from __future__ import annotations

import itertools
import json
import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import Account, ConfusionMatrix, FrameScore, MeanIoU
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
DEEP = QoSProfile(depth=1000)
# Kept for the evaluator: a publisher is matched a little before its subscriber is.
KEPT = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
NODE = "/deeplab_evaluator"
LABELS = """
name: three
unmapped: {unmapped}
classes: [{{name: road}}, {{name: car}}, {{name: sky}}]
"""


def image(ids, stamp, encoding="mono8", **fields):
    ids = np.ascontiguousarray(ids, np.uint8)
    message = Image(height=ids.shape[0], width=ids.shape[1], encoding=encoding, step=ids.shape[1])
    message.header.stamp.sec = stamp
    message.header.frame_id = "camera"
    message.data.frombytes(ids.tobytes())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


class Stream:
    """Publishes predictions and labels to an evaluator and hears what it says."""

    def __init__(self, graph, qos=DEEP):
        self.graph = graph
        self.frames = graph.subscribe(FrameScore, f"{NODE}/frame", DEEP)
        self.states = graph.subscribe(ConfusionMatrix, f"{NODE}/confusion", LATCHED)
        self.images = graph.node.create_publisher(Image, "/camera/image", qos)
        self.labels = graph.node.create_publisher(Image, "/camera/labels", qos)

    def connect(self):
        publishers = (self.images, self.labels)
        self.graph.wait_until(
            lambda: all(publisher.get_subscription_count() for publisher in publishers),
            explain=lambda: "the evaluator does not subscribe",
        )
        return self

    def pair(self, stamp, prediction, label):
        self.images.publish(image(prediction, stamp))
        self.labels.publish(image(label, stamp))

    def state(self, predicate):
        return self.states.wait(predicate)

    def trigger(self, name):
        return self.graph.call(Trigger, f"{NODE}/{name}")


def matrix(message):
    classes = len(message.class_names)
    return np.array(message.counts).reshape(classes, classes + 1)


def account(stream):
    return dict(zip(stream.reasons, stream.dropped, strict=True))


def check_identity(message):
    for stream in (message.images, message.labels):
        assert stream.received == stream.evaluated + stream.waiting + sum(stream.dropped)


@pytest.fixture
def start(ros_process, tmp_path):
    def start(*, unmapped="ignore", **parameters):
        labels = tmp_path / "three.yaml"
        labels.write_text(LABELS.format(unmapped=unmapped))
        parameters = {
            "source": "topic",
            "labels": str(labels),
            "publish_period": 0.05,
            "queue_size": 1000,
            "input_depth": 1000,
            **parameters,
        }
        return ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)

    return start


@pytest.fixture
def stream(graph):
    return Stream(graph, KEPT)


@pytest.fixture
def live_stream(graph):
    """What an evaluator that subscribes again does not get again."""
    return Stream(graph, DEEP)


def test_known_pairs_give_the_known_matrix_and_score(start, stream, ros_process, graph):
    start()
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    results = graph.subscribe(MeanIoU, "/miou_publisher/result", LATCHED)
    stream.connect().pair(7, [[0, 1, 2, 0, 1]], [[0, 1, 1, 0, 2]])
    score = stream.frames.wait()
    assert (score.stream, score.outcome, score.sequence) == ("pair", "evaluated", 1)
    assert (score.header.stamp.sec, score.header.frame_id) == (7, "camera")
    assert (list(score.cells), list(score.counts)) == ([0, 5, 6, 9], [2, 1, 1, 1])
    state = stream.state(lambda message: message.frames == 1)
    assert matrix(state).tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert json.loads(state.provenance)["label_map"] == "three"
    check_identity(state)
    result = results.wait(lambda message: message.frames == 1)
    assert result.miou == pytest.approx(4 / 9)
    assert [entry.iou for entry in result.classes] == pytest.approx([1, 1 / 3, 0])
    assert [entry.name for entry in result.classes] == ["road", "car", "sky"]


def test_many_frames_add_up_to_the_last_count(start, stream):
    start()
    stream.connect()
    rng = np.random.default_rng(0)
    expected = np.zeros((3, 4), np.int64)
    for stamp in range(1, 101):
        label, prediction = rng.integers(0, 3, (2, 20, 30))
        prediction[rng.random((20, 30)) < 0.1] = 9
        label[rng.random((20, 30)) < 0.1] = 255
        for truth, guess in zip(label.ravel(), prediction.ravel(), strict=True):
            if truth != 255:
                expected[truth, min(guess, 3)] += 1
        stream.pair(stamp, prediction, label)
    state = stream.state(lambda message: message.frames == 100)
    assert matrix(state).tolist() == expected.tolist()
    assert state.ignored_pixels == 100 * 600 - expected.sum()
    check_identity(state)
    stream.graph.wait_until(lambda: len(stream.frames.messages) == 100)
    assert {score.sequence for score in stream.frames.messages} == {*range(1, 101)}


GARBAGE = {
    "bad_encoding": {"encoding": "rgb16"},
    "bad_size": {"height": 0, "width": 0},
    "truncated_data": {"height": 400},
}


def test_garbage_is_counted_under_its_reason_and_the_stream_goes_on(start, stream):
    node = start(unmapped="error")
    stream.connect()
    good = np.array([[0, 1, 2]])
    stamp = 0
    for fields in [*GARBAGE.values(), {"step": 1}, {"height": 16384, "width": 16384}]:
        for publisher in (stream.images, stream.labels):
            stamp += 1
            publisher.publish(image(good, stamp, **fields))
    stream.pair(100, good, [[0, 1, 77]])  # unknown label id
    stream.pair(101, good, np.zeros((3, 3)))  # another view
    stream.images.publish(image(good, 102))
    stream.images.publish(image(good, 102))  # the same stamp twice
    stream.labels.publish(image(good, 102))
    stream.pair(103, good, good)
    stream.state(lambda message: message.frames == 2)
    assert stream.trigger("flush").success
    state = stream.state(lambda m: m.images.waiting == m.labels.waiting == 0 and m.frames == 2)
    check_identity(state)
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
    stream.graph.wait_until(
        lambda: {score.outcome for score in stream.frames.messages} == expected,
        explain=lambda: f"outcomes {[score.outcome for score in stream.frames.messages]}",
    )
    assert node.returncode is None


def test_reset_starts_from_zero(start, stream):
    start()
    stream.connect().pair(1, [[0]], [[0]])
    before = stream.state(lambda message: message.frames == 1)
    assert stream.trigger("reset").success
    after = stream.state(lambda message: message.reset_count == 1)
    assert (after.frames, sum(after.counts), after.images.received) == (0, 0, 0)
    assert after.run_id == before.run_id
    stream.pair(1, [[1]], [[2]])
    state = stream.state(lambda message: message.reset_count == 1 and message.frames == 1)
    assert matrix(state)[2, 1] == 1


def test_late_publisher_gets_the_whole_state(start, stream, ros_process, graph):
    start()
    stream.connect()
    for stamp in range(1, 6):
        stream.pair(stamp, [[0, 1]], [[0, 1]])
    stream.state(lambda message: message.frames == 5)
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    results = graph.subscribe(MeanIoU, "/miou_publisher/result", LATCHED)
    assert results.wait(lambda message: message.frames == 5).miou == 1


def test_publisher_adds_up_an_evaluator_that_was_killed_and_started_again(
    start, live_stream, ros_process, graph
):
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    results = graph.subscribe(MeanIoU, "/miou_publisher/result", LATCHED)
    first = start()
    live_stream.connect().pair(1, [[0, 1]], [[0, 1]])
    results.wait(lambda message: message.frames == 1)
    first.send(signal.SIGKILL)
    first.wait()
    graph.wait_until(lambda: not live_stream.images.get_subscription_count())
    start()
    live_stream.connect().pair(2, [[0, 1]], [[1, 1]])
    result = results.wait(lambda message: message.frames == 2)
    assert result.pixel_accuracy == 0.75


def test_subscriptions_follow_what_is_offered(start, graph):
    node = start()
    stream = Stream(graph, BEST_EFFORT).connect()
    stream.pair(1, [[0]], [[0]])
    stream.state(lambda message: message.frames == 1)
    assert "best_effort" in node.wait_for_output("subscribed to /camera/image")


def test_latched_labels_from_before_the_start_are_taken(start, graph):
    stream = Stream(graph, QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    stream.pair(1, [[0]], [[0]])
    start()
    stream.state(lambda message: message.frames == 1)


def test_incompatible_quality_of_service_is_told_with_both_sides(start, graph):
    node = start(image_reliability="reliable")
    Stream(graph, BEST_EFFORT)
    line = node.wait_for_output("request reliability reliable")
    assert "/camera/image" in line
    assert "best_effort" in line


def test_a_topic_that_nobody_publishes_is_told_with_what_is_there(start, graph):
    graph.node.create_publisher(Image, "/front/image", 1)
    node = start(startup_timeout=0.5)
    assert "/front/image" in node.wait_for_output("topic /camera/image: nobody publishes")
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    status = diagnostics.wait(lambda m: m.status[0].message.startswith("topic /camera/image"))
    assert status.status[0].level == b"\x01"


def test_compressed_images_are_found_by_their_type(start, graph):
    cv2 = pytest.importorskip("cv2")
    start()
    frames = graph.subscribe(FrameScore, f"{NODE}/frame", DEEP)
    publishers = [
        graph.node.create_publisher(CompressedImage, topic, DEEP)
        for topic in ("/camera/image", "/camera/labels")
    ]
    graph.wait_until(lambda: all(p.get_subscription_count() for p in publishers))
    encoded = cv2.imencode(".png", np.array([[0, 1, 2]], np.uint8))[1].tobytes()
    for publisher in publishers:
        message = CompressedImage(format="mono8; png compressed ")
        message.header.stamp.sec = 3
        message.data.frombytes(encoded)
        publisher.publish(message)
    score = frames.wait()
    assert (score.outcome, list(score.cells)) == ("evaluated", [0, 5, 10])


def test_account_is_told_while_somebody_listens(start, stream, graph):
    start()
    accounts = graph.subscribe(Account, f"{NODE}/account", DEEP)
    stream.connect().images.publish(image([[0]], 1))
    told = accounts.wait(lambda message: message.images.waiting == 1)
    check_identity(told)
    assert stream.trigger("flush").success
    told = accounts.wait(lambda message: message.images.received and not message.images.waiting)
    assert account(told.images) == {"unmatched_image": 1}


def test_prediction_and_overlay_are_published_while_watched(start, stream, graph):
    start()
    stream.connect()
    predictions = graph.subscribe(Image, f"{NODE}/prediction")
    overlays = graph.subscribe(Image, f"{NODE}/overlay")
    stamps = itertools.count(1)

    def watched():
        stream.pair(next(stamps), [[0, 1, 2]], [[0, 1, 2]])
        return predictions.messages and overlays.messages

    graph.wait_until(watched)
    prediction, overlay = predictions.wait(), overlays.wait()
    assert (prediction.encoding, list(prediction.data)) == ("mono8", [0, 1, 2])
    assert (overlay.encoding, overlay.height, overlay.width) == ("rgb8", 1, 3)
    assert overlay.header.stamp.sec > 0


def test_pause_receives_nothing_and_goes_on(start, live_stream, graph):
    start()
    live_stream.connect().pair(1, [[0]], [[0]])
    live_stream.state(lambda message: message.frames == 1)
    assert graph.call(SetBool, f"{NODE}/pause", SetBool.Request(data=True)).success
    graph.wait_until(lambda: not live_stream.images.get_subscription_count())
    live_stream.pair(2, [[0]], [[0]])
    assert graph.call(SetBool, f"{NODE}/pause", SetBool.Request(data=False)).success
    live_stream.connect().pair(3, [[0]], [[0]])
    state = live_stream.state(lambda message: message.frames == 2)
    assert state.images.received == 2


def test_lifecycle_keeps_counts_over_deactivation_and_drops_them_over_cleanup(
    start, live_stream, graph
):
    start()
    live_stream.connect().pair(1, [[0]], [[0]])
    live_stream.state(lambda message: message.frames == 1)
    assert graph.transition(NODE, "deactivate")
    graph.wait_until(lambda: not live_stream.images.get_subscription_count())
    assert graph.transition(NODE, "activate")
    live_stream.connect().pair(2, [[0]], [[0]])
    live_stream.state(lambda message: message.frames == 2)
    for label in ("deactivate", "cleanup", "configure", "activate"):
        assert graph.transition(NODE, label), label
    live_stream.connect().pair(3, [[0]], [[0]])
    state = live_stream.state(lambda message: message.reset_count == 1 and message.frames == 1)
    check_identity(state)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"labels": "no_such_map"}, "no_such_map"),
        ({"source": "network", "checkpoint": "/nowhere/net.safetensors"}, "/nowhere/net"),
        ({"sync_tolerance": -1.0}, "sync_tolerance is -1.0"),
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
    graph.wait_for_state(NODE, "unconfigured")
    mend = {
        "labels": "camvid11",
        "source": "topic",
        "sync_tolerance": 0.0,
        "overflow": "block",
    }
    for name in parameters.keys() & mend.keys():
        assert not graph.set_parameter(NODE, name, mend[name])
    assert graph.transition(NODE, "configure")
    assert graph.transition(NODE, "activate")


def test_what_can_change_while_running_does_and_the_rest_is_refused(start, stream, graph):
    start(publish_period=3600.0)
    stream.connect().pair(1, [[0]], [[0]])
    stream.frames.wait()
    assert not graph.set_parameter(NODE, "publish_period", 0.05)
    stream.state(lambda message: message.frames == 1)
    assert "clean the node up" in graph.set_parameter(NODE, "queue_size", 5)
    assert "out of range" in graph.set_parameter(NODE, "startup_timeout", 1e9)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(start, stream, number):
    node = start()
    stream.connect().pair(1, [[0]], [[0]])
    stream.state(lambda message: message.frames == 1)
    status, seconds = node.stop(number)
    assert status == 0
    assert seconds < 3
    assert node.lines("1 frames evaluated of 1 images and 1 labels received")
