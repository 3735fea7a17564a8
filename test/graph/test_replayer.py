from __future__ import annotations

import itertools
import json
import re
import signal
import time

import numpy as np
import pytest
from image_files import mono8

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import Account, StreamAccount
from diagnostic_msgs.msg import DiagnosticArray
from graph_support import EVALUATOR, IMAGE, LABEL, PUBLISHER
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability
from rosbags.interfaces import QosTime as Duration
from rosbags.typesys import get_types_from_msg
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from deeplab_miou.bags.images import typestore
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions, WindowOptions
from deeplab_miou.report.agreement import find_differences

START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
SHAPE = (24, 32)
LABELS = "cityscapes_train_ids"


def ids(rng, values=19):
    return rng.integers(0, values, SHAPE, dtype=np.uint8)


def write_bag(path, frames, *, storage="mcap", compression="none", every=1, topics=(IMAGE, LABEL)):
    """Write predictions, and labels for every n-th of them; return the path."""
    rng = np.random.default_rng(5)
    with BagWriter(path, storage, compression) as writer:
        for index in range(frames):
            stamp_ns = START_NS + index * STEP_NS
            truth = ids(rng, 20)
            truth[truth == 19] = 255
            guess = np.where(rng.random(SHAPE) < 0.7, truth, ids(rng, 22)).astype(np.uint8)
            writer.write_image(topics[0], stamp_ns, "camera", mono8(guess))
            if index % every == 0:
                writer.write_image(
                    topics[1], stamp_ns, "camera", mono8(truth), stamp_ns + 7_000_000
                )
    return path


def recorded(path, topic):
    with BagReader(path) as reader:
        return [message.data for message in reader.messages([topic])]


@pytest.fixture
def replay(ros_process):
    def replay(bag, *, remap=None, **parameters):
        return ros_process(
            "deeplab_miou.nodes.replayer",
            str(bag),
            parameters={"startup_timeout": 60.0, "stall_timeout": 20.0, **parameters},
            remap=remap,
        )

    return replay


@pytest.fixture
def listen(graph):
    """Collect serialised messages as they come."""

    return lambda topic: listen_raw(graph, topic)


def listen_raw(graph, topic):
    messages = []
    graph.node.create_subscription(Image, topic, messages.append, QoSProfile(depth=100), raw=True)
    return messages


@pytest.mark.parametrize(
    ("storage", "compression"),
    [("mcap", "none"), ("sqlite3", "message")],
)
def test_recorded_bytes_arrive_as_they_are(replay, listen, tmp_path, storage, compression):
    bag = write_bag(tmp_path / "bag", 12, storage=storage, compression=compression)
    images, labels = listen(IMAGE), listen(LABEL)
    player = replay(bag, rate=20.0, wait_for_subscribers=[IMAGE, LABEL])
    assert player.wait() == 0
    assert images == recorded(bag, IMAGE)
    assert labels == recorded(bag, LABEL)
    assert f"played 24 messages ({IMAGE} 12, {LABEL} 12)" in player.output


def test_a_part_of_a_bag_under_another_name(replay, graph, listen, tmp_path):
    bag = write_bag(tmp_path / "bag", 20)
    labels = listen("/elsewhere")
    player = replay(
        bag,
        topics=[LABEL],
        remap={LABEL: "/elsewhere"},
        rate=2.0,
        start=0.5,
        duration=0.8,
        wait_for_subscribers=[LABEL],
    )
    line = player.wait_for_output("played 8 messages")
    assert labels == recorded(bag, LABEL)[5:13]
    # 0.7 s lie between the first and the last; acknowledgements may take seconds.
    assert 0.35 <= float(line.split(" in ")[1].split(" s,")[0]) < 10.0
    assert not graph.node.get_publishers_info_by_topic(IMAGE)
    assert player.wait() == 0


def test_clock_runs_with_the_bag_and_jumps_back_with_a_loop(replay, graph, tmp_path):
    bag = write_bag(tmp_path / "bag", 11)
    clock = graph.subscribe(Clock, "/clock", 1000)
    player = replay(bag, rate=5.0, loop=True, clock_rate=100.0, progress=False)

    def times_ns():
        return [m.clock.sec * 10**9 + m.clock.nanosec for m in list(clock.messages)]

    def jumps():
        return [late < early for early, late in itertools.pairwise(times_ns())].count(True)

    graph.wait_until(lambda: jumps() >= 2)
    stamps = times_ns()
    assert min(stamps) >= START_NS
    assert max(stamps) <= START_NS + 10 * STEP_NS + 7_000_000
    steps = [late - early for early, late in itertools.pairwise(stamps) if late > early]
    assert np.median(steps) == pytest.approx(5.0 / 100.0 * 1e9, rel=0.3)
    # A loop has no other end than a signal.
    code, took_s = player.stop()
    assert (code, took_s < 8) == (0, True)


def test_interruption_before_the_end_is_told(replay, listen, graph, tmp_path):
    bag = write_bag(tmp_path / "bag", 300)
    images = listen(IMAGE)
    player = replay(bag, wait_for_subscribers=[IMAGE])
    graph.wait_until(lambda: images)
    code, took_s = player.stop(signal.SIGTERM)
    assert code == 130
    assert took_s < 8
    assert player.lines("interrupted: ")


def qos(reliability, durability, depth=3):
    none = Duration(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        reliability,
        durability,
        none,
        none,
        QosLiveliness.SYSTEM_DEFAULT,
        none,
        avoid_ros_namespace_conventions=False,
    )


@pytest.fixture
def quality_bag(tmp_path):
    bag = tmp_path / "bag"
    with BagWriter(bag) as writer:
        offered = qos(QosReliability.BEST_EFFORT, QosDurability.VOLATILE)
        writer.add_topic(IMAGE, "sensor_msgs/msg/Image", (offered,))
        offered = qos(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)
        writer.add_topic(LABEL, "sensor_msgs/msg/Image", (offered,))
        for topic in (IMAGE, LABEL):
            writer.write_image(topic, START_NS, "camera", mono8(np.zeros(SHAPE, np.uint8)))
    return bag


def offer(graph, topic):
    infos = graph.wait_until(lambda: graph.node.get_publishers_info_by_topic(topic))
    return infos[0].qos_profile.reliability, infos[0].qos_profile.durability


def test_quality_of_service_is_what_was_recorded_unless_overridden(replay, graph, quality_bag):
    override = {"qos_overrides./other.publisher.reliability": "reliable"}
    player = replay(quality_bag, loop=True, clock_rate=0.0)
    assert offer(graph, IMAGE) == (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
    assert offer(graph, LABEL) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    assert graph.node.count_publishers("/clock") == 0
    player.stop()
    replay(quality_bag, loop=True, remap={IMAGE: "/other"}, **override)
    assert offer(graph, "/other")[0] is ReliabilityPolicy.RELIABLE


def test_paced_mode_offers_reliable_delivery(replay, graph, quality_bag):
    replay(quality_bag, paced=True)
    assert offer(graph, IMAGE)[0] is ReliabilityPolicy.RELIABLE


def test_types_that_are_not_installed_are_named_and_left_out(replay, listen, tmp_path):
    known = typestore()
    if "nowhere_msgs/msg/Thing" not in known.types:
        known.register(get_types_from_msg("int32 value", "nowhere_msgs/msg/Thing"))
    mixed = tmp_path / "mixed"
    with BagReader(write_bag(tmp_path / "bag", 2)) as reader, BagWriter(mixed) as writer:
        for message in reader.messages():
            writer.write(message.topic, message.type, message.timestamp_ns, message.data)
            writer.write("/odd", "nowhere_msgs/msg/Thing", message.timestamp_ns, b"\0\1\0\0\0")
    images = listen(IMAGE)
    player = replay(mixed, wait_for_subscribers=[IMAGE])
    assert player.wait() == 0
    (line,) = player.lines("/odd")
    assert "nowhere_msgs/msg/Thing" in line
    assert "4 messages" in line
    assert len(images) == 2
    player = replay(mixed, topics=["/odd"])
    assert player.wait() == 2
    assert player.lines("nowhere_msgs/msg/Thing")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"topics": ["/camera/lables"]}, "'/camera/lables'"),
        ({"start": 60.0}, "start is 60"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": "fast"}, "rate is 'fast'"),
        ({"wait_for_subscribers": ["/nothing"]}, "'/nothing'"),
        ({"paced": True, "evaluators": []}, "evaluators"),
    ],
)
def test_bad_parameters_exit_with_2(replay, tmp_path, parameters, expected):
    player = replay(write_bag(tmp_path / "bag", 2), **parameters)
    assert player.wait() == 2
    assert player.lines(expected)


def test_a_bag_that_is_not_there_exits_with_2(replay, tmp_path):
    player = replay(tmp_path / "nowhere")
    assert player.wait() == 2
    assert player.lines("does not exist")


def test_a_truncated_bag_is_played_as_far_as_it_goes(replay, listen, graph, tmp_path):
    (file,) = write_bag(tmp_path / "bag", 40).glob("*.mcap")
    whole = recorded(file, IMAGE)
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    images = listen(IMAGE)
    player = replay(cut, rate=20.0, wait_for_subscribers=[IMAGE])
    assert player.wait() == 3
    played = int(re.search(r"/camera/image (\d+)", player.lines(" messages (")[0])[1])
    assert 10 < played < 40
    # What was sent may still be on its way to us.
    graph.wait_until(lambda: len(images) >= played, explain=lambda: f"{len(images)} of {played}")
    assert images == whole[:played]
    assert player.lines("is damaged")


def test_nobody_listening_in_time_exits_with_1(replay, tmp_path):
    bag = write_bag(tmp_path / "bag", 2)
    player = replay(bag, startup_timeout=0.5, wait_for_subscribers=[IMAGE])
    assert player.wait() == 1
    assert player.lines(f"nothing subscribes to {IMAGE}")


# Paced.


class Double:
    """An evaluator as the replayer sees it, which accounts only for what the test lets it.

    It says that it is paced over and over, until something has arrived.
    """

    def __init__(self, graph):
        self._graph = graph
        self.name = "/test_client"
        self.images = listen_raw(graph, IMAGE)
        self.labels = listen_raw(graph, LABEL)
        self.accounts = graph.node.create_publisher(Account, "/test_client/account", 100)
        self.flushed = []
        self.is_slow = False
        graph.node.create_service(Trigger, "/test_client/flush", self._flush)

    def _flush(self, _request, response):
        self.flushed.append(time.monotonic())
        ended = min(len(self.images), len(self.labels))
        self.account(ended=min(ended, len(self.flushed)) if self.is_slow else ended)
        response.success = True
        return response

    @property
    def arrived(self):
        return len(self.images) + len(self.labels)

    def account(self, ended=0, *, received=None, run_id="run"):
        images, labels = received or (len(self.images), len(self.labels))
        message = Account(source=self.name, run_id=run_id, paced=True)
        for name, count in (("images", images), ("labels", labels)):
            account = StreamAccount(received=count, evaluated=ended, waiting=count - ended)
            setattr(message, name, account)
        self.accounts.publish(message)

    def begin(self, received=(0, 0), **account):
        self._graph.repeat_until(
            lambda: self.account(received=received, **account), lambda: self.arrived
        )

    def wait_for(self, arrived):
        self._graph.wait_until(
            lambda: self.arrived >= arrived, explain=lambda: f"{self.arrived} of {arrived} arrived"
        )


@pytest.fixture
def double(graph):
    return Double(graph)


def test_no_more_is_under_way_than_the_window_holds(replay, double, tmp_path):
    bag = write_bag(tmp_path / "bag", 30)
    player = replay(bag, paced=True, evaluators=[double.name], in_flight=4)
    double.begin()
    while double.arrived < 60:
        before = double.arrived
        double.account(ended=min(len(double.images), len(double.labels)))
        double.wait_for(before + 1)
        assert double.arrived - before <= 4
    double.account(ended=30)
    assert player.wait() == 0
    assert len(double.flushed) >= 1
    assert double.images == recorded(bag, IMAGE)
    assert player.lines("30 frames evaluated, dropped no image, no label")


def test_an_evaluator_that_stops_is_reported_with_what_is_missing(replay, double, tmp_path):
    bag = write_bag(tmp_path / "bag", 30)
    player = replay(bag, paced=True, evaluators=[double.name], in_flight=4, stall_timeout=1.5)
    double.begin()
    double.wait_for(4)
    double.account()
    assert player.wait() == 1
    (line,) = player.lines("no progress for 1.5 s")
    assert f"sent 4 on {IMAGE}, 4 on {LABEL}" in line
    assert "it received 2 images and 2 labels, 4 of those sent are missing" in line


def test_an_evaluator_that_is_slow_with_what_it_holds_is_waited_for(replay, double, tmp_path):
    """It is flushed every two seconds, and ends one frame in that time."""
    double.is_slow = True
    bag = write_bag(tmp_path / "bag", 3)
    player = replay(bag, paced=True, evaluators=[double.name], stall_timeout=3.0)
    double.begin()
    double.wait_for(6)
    double.account()
    assert player.wait() == 0
    assert len(double.flushed) == 3
    assert player.lines("3 frames evaluated, dropped no image, no label")


def test_what_it_says_last_is_how_it_ended(replay, double, graph, tmp_path):
    """All is sent before anything is evaluated, and what was said then would stay on pages."""
    inbox = graph.subscribe(DiagnosticArray, "/diagnostics", 100)
    bag = write_bag(tmp_path / "bag", 3)
    player = replay(bag, paced=True, evaluators=[double.name])
    double.begin()
    double.wait_for(6)
    double.account()
    assert player.wait() == 0
    assert len(double.flushed) >= 1
    ends = "played 0.2 of 0.2 s, 6 messages, {} frames evaluated"
    inbox.wait(lambda message: message.status[0].message == ends.format(3))
    said = [message.status[0].message for message in inbox.messages]
    assert said[-2:] == [ends.format(0), ends.format(3)]


def test_a_replay_goes_on_after_a_restart_and_tells_of_the_loss(replay, double, tmp_path):
    bag = write_bag(tmp_path / "bag", 4)
    player = replay(bag, paced=True, evaluators=[double.name], in_flight=2)
    double.begin((5, 5), ended=5, run_id="first")
    double.wait_for(2)
    while player.returncode is None and double.arrived < 8:
        before = double.arrived
        double.account(ended=min(len(double.images), len(double.labels)))
        double.wait_for(before + 1)
    double.account(ended=4)
    assert player.wait() == 1
    assert player.lines(f"{double.name} was restarted")


def test_a_replay_outlives_what_others_send(replay, double, graph, tmp_path):
    bag = write_bag(tmp_path / "bag", 10)
    player = replay(bag, paced=True, evaluators=[double.name], in_flight=4)
    double.begin()
    odd = Parameter(name="rate", value=ParameterValue(type=99))
    for _ in range(2):
        client = graph.node.create_client(SetParameters, "/bag_replayer/set_parameters")
        graph.wait_until(client.service_is_ready)
        client.call_async(SetParameters.Request(parameters=[odd]))
    player.wait_for_output("99 is not a valid")
    absurd = Account(source=double.name, run_id="other")
    absurd.images = StreamAccount(received=2**64 - 1, reasons=["a"] * 100, dropped=[1])
    for _ in range(3):
        double.accounts.publish(absurd)
    while double.arrived < 20:
        before = double.arrived
        double.account(ended=min(len(double.images), len(double.labels)))
        double.wait_for(before + 1)
    double.account(ended=10)
    assert player.wait() == 0
    assert player.lines("10 frames evaluated, dropped no image, no label")
    assert player.lines(f"account of {double.name} refused")


def test_an_absent_evaluator_is_named(replay, tmp_path):
    bag = write_bag(tmp_path / "bag", 2)
    player = replay(bag, paced=True, startup_timeout=0.5)
    assert player.wait() == 1
    (line,) = player.lines(f"evaluator {EVALUATOR} is not ready")
    assert "no such node" in line


@pytest.fixture
def evaluator(ros_process):
    def evaluator(name="deeplab_evaluator", **parameters):
        return ros_process(
            "deeplab_miou.nodes.evaluator",
            name=name,
            parameters={"source": "topic", "labels": LABELS, **parameters},
        )

    return evaluator


def test_an_inactive_evaluator_is_no_audience(replay, evaluator, graph, tmp_path):
    evaluator(autostart=False)
    graph.wait_for_state(EVALUATOR, "unconfigured")
    bag = write_bag(tmp_path / "bag", 2)
    player = replay(bag, paced=True, startup_timeout=6.0)
    assert player.wait() == 1
    (line,) = player.lines(f"evaluator {EVALUATOR} is not ready")
    assert "subscribes to none" in line


def offline_report(bag, image=IMAGE, label=LABEL):
    engine = EngineOptions(source="topic", labels=LABELS)
    options = OfflineOptions(
        bag=str(bag),
        window=WindowOptions(),
        engine=engine,
        label_topic=label,
        image_topic=image,
        prediction_topic=image,
    )
    return evaluate(options).report


@pytest.fixture
def publisher(ros_process, tmp_path):
    def publisher(*evaluators):
        return ros_process(
            "deeplab_miou.nodes.publisher",
            parameters={
                "confusion_topics": [f"{name}/confusion" for name in evaluators],
                "report_directory": str(tmp_path / "report"),
                "publish_period": 0.05,
            },
        )

    return publisher


def assert_same(live, expected):
    """Assert that a report file holds what an offline report does, to the last digit."""
    wanted = expected.to_dict()
    for key in ("confusion", "frames", "accounting", "miou", "intervals", "timeline", "window"):
        assert live[key] == wanted[key], key
    assert len(wanted["intervals"]["iou_anytime"]) == len(wanted["classes"])
    assert wanted["window"]["frames"] == min(wanted["frames"], 100)
    assert wanted["timeline"]["miou"]
    shown = [{**frame, "source": EVALUATOR} for frame in wanted["worst_frames"]]
    assert live["worst_frames"] == shown
    assert live["classes"] == wanted["classes"]
    assert find_differences(live, wanted) == []


@pytest.mark.parametrize("every", [1, 5])
def test_live_equals_offline(replay, evaluator, publisher, tmp_path, every):
    bag = write_bag(tmp_path / "bag", 200, every=every)
    evaluator()
    publisher(EVALUATOR)
    player = replay(bag, paced=True, publisher=PUBLISHER)
    assert player.wait(120.0) == 0
    live = json.loads((tmp_path / "report" / "report.json").read_text())
    assert live["frames"] == 200 // every
    assert_same(live, offline_report(bag))


@pytest.mark.parametrize("overflow", ["drop_newest", "block"])
def test_neither_overflow_nor_a_short_queue_lose_anything(
    replay, evaluator, publisher, tmp_path, overflow
):
    bag = write_bag(tmp_path / "bag", 150)
    evaluator(overflow=overflow, queue_size=1)
    publisher(EVALUATOR)
    player = replay(bag, paced=True, in_flight=40, publisher=PUBLISHER)
    assert player.wait(120.0) == 0
    live = json.loads((tmp_path / "report" / "report.json").read_text())
    assert_same(live, offline_report(bag))


def test_what_is_readable_of_a_damaged_bag_is_scored(replay, evaluator, publisher, tmp_path):
    (file,) = write_bag(tmp_path / "bag", 100).glob("*.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    evaluator()
    publisher(EVALUATOR)
    player = replay(cut, paced=True, publisher=PUBLISHER)
    assert player.wait(120.0) == 3
    live = json.loads((tmp_path / "report" / "report.json").read_text())
    assert 40 <= live["frames"] < 60
    assert_same(live, offline_report(cut))


def test_two_cameras_add_up(replay, evaluator, publisher, tmp_path):
    front = write_bag(tmp_path / "front", 60, topics=("/front/image", "/front/labels"))
    both = tmp_path / "both"
    with BagReader(front) as reader, BagWriter(both, "sqlite3") as writer:
        for message in reader.messages():
            for camera in ("front", "rear"):
                topic = message.topic.replace("front", camera)
                writer.write(topic, message.type, message.timestamp_ns, message.data)
    for camera in ("front", "rear"):
        evaluator(camera, image_topic=f"/{camera}/image", label_topic=f"/{camera}/labels")
    publisher("/front", "/rear")
    player = replay(both, paced=True, evaluators=["/front", "/rear"], publisher=PUBLISHER)
    assert player.wait(120.0) == 0
    live = json.loads((tmp_path / "report" / "report.json").read_text())
    one = np.array(offline_report(front, "/front/image", "/front/labels").to_dict()["confusion"])
    assert live["frames"] == 120
    assert np.array_equal(np.array(live["confusion"]), 2 * one)


def test_a_second_replay_counts_only_its_own(replay, evaluator, tmp_path):
    bag = write_bag(tmp_path / "bag", 20)
    evaluator()
    for _ in range(2):
        player = replay(bag, paced=True)
        assert player.wait(120.0) == 0
        assert player.lines("20 frames evaluated, dropped no image, no label")
