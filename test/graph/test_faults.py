"""What goes wrong in the field, with real processes: kills, loops, odd stamps, devices, disks."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from image_files import mono8

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import MeanIoU
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from graph_support import (
    EVALUATOR,
    IMAGE,
    LABEL,
    LATCHED,
    LIVE,
    PUBLISHER,
    Camera,
    account,
    evaluator_with,
    frames,
    matrix,
)
from std_srvs.srv import Trigger

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.metric.confusion import confusion_matrix

CLASSES = 19
NS = 1_000_000_000


def own_bytes(pid):
    """Return what a process holds in memory, without files and what it shares."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


@pytest.fixture
def camera(graph):
    return Camera(graph, LIVE)


# Kills.


def test_either_node_killed_in_the_middle_costs_no_count_of_the_other(
    start_evaluator, start_publisher, camera, graph
):
    first, scores = start_evaluator(), start_publisher()
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    camera.connect()
    for sec in range(1, 21):
        camera.send(sec)
    results.wait(frames(20))
    scores.send(signal.SIGKILL)
    scores.wait()
    for sec in range(21, 31):
        camera.send(sec)
    camera.state(frames(30))
    results.messages.clear()
    start_publisher()
    results.wait(frames(30))
    first.send(signal.SIGKILL)
    first.wait()
    second = start_evaluator()
    # The dead one is known until its lease ends.
    camera.connect(subscribers=2)
    for sec in range(31, 36):
        camera.send(sec)
    result = results.wait(frames(35))
    assert result.labelled_pixels == 35 * 3
    assert result.pixel_accuracy == pytest.approx(2 / 3)
    assert second.returncode is None


# Time.


def write_bag(path, count):
    """Write a bag of 10 Hz; return each frame's matrix by its stamp."""
    rng = np.random.default_rng(3)
    start_ns = 1_700_000_000 * NS
    known = {}
    with BagWriter(path) as writer:
        for index in range(count):
            stamp_ns = start_ns + index * NS // 10
            truth, guess = rng.integers(0, CLASSES, (2, 6, 8), np.uint8)
            known[stamp_ns] = confusion_matrix(truth, guess, CLASSES)
            for topic, ids in ((IMAGE, guess), (LABEL, truth)):
                writer.write_image(topic, stamp_ns, "camera", mono8(ids))
    return known


def loop_bag(ros_process, camera, path, pairs):
    """Play a bag in a loop until `pairs` are evaluated; return how many messages it sent."""
    player = ros_process(
        "deeplab_miou.nodes.replayer",
        str(path),
        parameters={
            "loop": True,
            "rate": 3.0,
            "progress": False,
            "wait_for_subscribers": [IMAGE, LABEL],
        },
    )
    camera.graph.wait_until(lambda: len(evaluated(camera)) >= pairs)
    code, _ = player.stop()
    assert code == 0
    return int(player.wait_for_output("interrupted: ").split("interrupted: ")[1].split()[0])


def evaluated(camera):
    """Return the frames heard of that were evaluated."""
    return [each for each in list(camera.frames.messages) if each.outcome == "evaluated"]


def ends_with_the_last_frame(camera, state):
    """Return whether a state holds exactly the frames that were heard of."""
    last = camera.frames.messages[-1]
    return (state.reset_count, state.frame_sequence) == (last.reset_count, last.sequence)


def check_counts(camera, state, known):
    """Check a state against the matrices of its run's frames; return how many frames these are."""
    own = [each.header.stamp for each in evaluated(camera) if each.reset_count == state.reset_count]
    expected = sum(known[stamp.sec * NS + stamp.nanosec] for stamp in own)
    assert matrix(state).tolist() == expected.tolist()
    return len(own)


ROUND = 25  # frames of the bag that is played in a loop


def test_a_looping_bag_is_counted_on_and_loses_nothing(
    start_evaluator, ros_process, camera, tmp_path
):
    known = write_bag(tmp_path / "bag", ROUND)
    start_evaluator(on_clock_jump="continue", use_sim_time=True)
    camera.listen()
    sent = loop_bag(ros_process, camera, tmp_path / "bag", pairs=60)
    assert sent > 2 * 2 * ROUND, "two whole rounds of images and labels"
    state = camera.state(
        lambda m: (
            ends_with_the_last_frame(camera, m) and m.images.received + m.labels.received == sent
        )
    )
    assert state.reset_count == 1, "only that of `listen`"
    assert state.frames == check_counts(camera, state, known)
    # However late one of the topics was: only a message whose partner was not sent has none.
    assert account(state.images) == account(state.labels) == {}
    assert state.frames >= min(state.images.received, state.labels.received) - 1


def test_a_looping_bag_starts_a_run_each_round_where_that_is_asked_for(
    start_evaluator, ros_process, camera, tmp_path
):
    known = write_bag(tmp_path / "bag", ROUND)
    start_evaluator(on_clock_jump="reset", use_sim_time=True)
    camera.listen()
    sent = loop_bag(ros_process, camera, tmp_path / "bag", pairs=60)
    jumps = (sent - 1) // (2 * ROUND)
    assert jumps >= 2
    # One reset is that of `listen`.
    state = camera.state(
        lambda m: ends_with_the_last_frame(camera, m) and m.reset_count == 1 + jumps
    )
    check_counts(camera, state, known)
    # Of the stream that is behind, the end of the past round comes after the reset.
    assert set(account(state.images)) <= {"clock_jump", "unmatched_image"}


def test_stamps_that_no_camera_should_have(start_evaluator, camera):
    node = start_evaluator()
    camera.connect()
    # Never set: the first pair is as good as any, the others repeat its stamp.
    for _ in range(3):
        camera.send(0)
    state = camera.state(lambda m: m.images.received == m.labels.received == 3)
    assert state.frames + account(state.images).get("duplicate_stamp", 0) == 3
    assert state.frames >= 1
    told = state.frames
    # Before 1970, more nanoseconds than a second has, the last second of the type.
    camera.send(-5, nanosec=3)
    camera.send(7, nanosec=4_000_000_000)
    camera.send(2**31 - 1, nanosec=2**32 - 1)
    camera.state(lambda m: m.frames + sum(m.images.dropped) - 3 + told >= told + 3)
    # Back to the present after a stamp from the far future.
    camera.send(100)
    camera.send(101)
    state = camera.state(
        lambda m: m.images.received == 8 and not m.images.waiting and not m.labels.waiting
    )
    assert node.returncode is None
    assert state.frames >= told + 4
    assert set(account(state.images)) <= {"duplicate_stamp", "clock_jump"}


def test_two_publishers_on_one_topic(start_evaluator, camera, graph):
    start_evaluator()
    other = Camera(graph, LIVE)
    camera.connect()
    other.connect()
    for sec in range(1, 41):
        (camera if sec % 2 else other).send(sec)
    state = camera.state(frames(40))
    assert not account(state.images)
    # Both publish the same stamps: each is scored once.
    stamps_ns = [index * NS // 20 for index in range(10)]
    for nanosec in stamps_ns:
        camera.send(50, nanosec=nanosec)
    camera.state(frames(50))
    for nanosec in stamps_ns:
        other.send(50, nanosec=nanosec)
    state = camera.state(lambda m: sum(m.images.dropped) == 10 and sum(m.labels.dropped) == 10)
    assert state.frames == 50
    assert account(state.images) == account(state.labels) == {"duplicate_stamp": 10}


# Devices.


def test_device_out_of_memory(start_evaluator, camera, graph, tmp_path):
    # As the segmenter says it: room for two frames, and never for that of class 7.
    module = evaluator_with(
        tmp_path,
        "if len(images) > 2 or any(image[0, 0] == 7 for image in images):",
        "    raise FrameError(Reason.INFERENCE_FAILED, 'the device has no memory for it')",
    )
    node = start_evaluator(module, batch_size=8)
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    camera.connect()
    for sec in range(1, 41):
        camera.send(sec, prediction=[[7 if sec == 20 else 0, 1, 2]])
    state = camera.state(frames(39))
    assert account(state.images) == account(state.labels) == {"inference_failed": 1}
    failed = camera.frames.wait(lambda score: score.outcome == "inference_failed")
    assert failed.header.stamp.sec == 20
    assert "no memory" in failed.message
    diagnostics.wait(lambda m: m.status[0].level == DiagnosticStatus.ERROR)
    camera.send(100)
    camera.state(frames(40))
    assert node.returncode is None


def test_dead_device_ends_the_node_loudly(start_evaluator, ros_process, camera, graph, tmp_path):
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    module = evaluator_with(
        tmp_path,
        "if images[0][0, 0] == 7:",
        "    raise RuntimeError('the device fell off the bus')",
    )
    node = start_evaluator(module)
    camera.connect()
    for sec in range(1, 6):
        camera.send(sec)
    results.wait(frames(5))
    camera.send(6, prediction=[[7, 1, 2]])
    assert node.wait() == 1
    assert "the device fell off the bus" in node.output
    assert "Traceback" in node.output
    # Its last word tells of the frame that it failed on.
    result = results.wait(lambda m: m.images.received == 6)
    assert account(result.images) == {"inference_failed": 1}
    assert result.frames == 5


def test_a_frame_that_does_not_end_keeps_no_node_from_ending(start_evaluator, camera, tmp_path):
    node = start_evaluator(
        evaluator_with(tmp_path, "time.sleep(60 if images[0][0, 0] == 7 else 0)")
    )
    camera.connect()
    camera.send(1)
    camera.state(frames(1))
    camera.send(2, prediction=[[7, 1, 2]])
    camera.state(lambda message: message.images.waiting == message.labels.waiting == 1)
    status, took_s = node.stop(signal.SIGTERM)
    assert status == 0
    assert took_s < 8
    assert "frames being processed were dropped and not counted" in node.output


# Disks.


@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        yield path
    finally:
        subprocess.run([shutil.which("umount"), "-l", str(path)], check=True)


def test_full_disk_is_an_error_and_the_old_report_stays(
    start_publisher, camera, start_evaluator, graph, tmp_path
):
    with small_disk(tmp_path / "disk", "1m") as disk:
        folder = disk / "reports"
        start_evaluator()
        scores = start_publisher(report_directory=str(folder), save_report_on_shutdown=False)
        results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
        diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
        camera.connect().send(1)
        results.wait(frames(1))
        assert graph.call(Trigger, f"{PUBLISHER}/save_report").success
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        camera.send(2)
        results.wait(frames(2))
        # No room at all, then room for a part of a file.
        for room in (0, 4096):
            os.truncate(filler, filler.stat().st_size - room)
            answer = graph.call(Trigger, f"{PUBLISHER}/save_report")
            assert not answer.success
            assert "No space left" in answer.message
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        own = [PUBLISHER + ": scores"]
        diagnostics.wait(
            lambda m: m.status[0].name in own and m.status[0].level == DiagnosticStatus.ERROR
        )
        filler.unlink()
        assert graph.call(Trigger, f"{PUBLISHER}/save_report").success
        assert json.loads((folder / "report.json").read_text())["frames"] == 2
        assert scores.stop()[0] == 0


# Lifecycles.


def test_ten_lifecycles_leave_no_memory_behind(start_evaluator, camera, graph):
    # So that glibc gives back what is freed: else its arenas grow and shrink by 10 MB.
    threshold = str(2**16)
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    node = start_evaluator(environment={"MALLOC_ARENA_MAX": "1", **dict.fromkeys(names, threshold)})
    ids = np.zeros((480, 640), np.uint8)
    held = []
    for turn in range(1, 11):
        camera.connect()
        for sec in range(1, 6):
            camera.send(100 * turn + sec, prediction=ids, label=ids)
        camera.state(lambda m, turn=turn: m.frames == 5 and m.reset_count == turn - 1)
        for label in ("deactivate", "cleanup"):
            assert graph.transition(EVALUATOR, label), label
        held.append(own_bytes(node.pid))
        camera.disconnect()
        for label in ("configure", "activate"):
            assert graph.transition(EVALUATOR, label), label
    # Pools of the middleware fill up first; frames that stay would take 3 MB a turn.
    assert held[-1] - held[2] < 2 * 2**20, held


# Networks.

CLONE_NEWNET = 0x40000000


def ip(*words):
    return subprocess.run([shutil.which("ip"), *words], capture_output=True, check=False, text=True)


@contextlib.contextmanager
def inside(namespace):
    """Let what this thread starts live in a network namespace."""
    setns = ctypes.CDLL(None, use_errno=True).setns
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert setns(own, CLONE_NEWNET) == 0
        os.close(own)
        os.close(there)


@pytest.fixture
def two_hosts():
    """Two network namespaces with a cable between them."""
    names = [f"miou{os.getpid()}{side}" for side in "ab"]
    if not shutil.which("ip"):
        pytest.skip("ip is not installed (Debian: iproute2)")
    made = [ip("netns", "add", name) for name in names]
    try:
        if any(each.returncode for each in made):
            pytest.skip(f"network namespaces are not permitted here: {made[0].stderr.strip()}")
        ends = ["ip-a", "ip-b"]
        cable = ["type", "veth", "peer", "name", ends[1], "netns", names[1]]
        plugged = ip("link", "add", ends[0], "netns", names[0], *cable)
        if plugged.returncode:
            pytest.skip(f"virtual cables are not permitted here: {plugged.stderr.strip()}")
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            for words in (
                ("addr", "add", f"10.77.0.{number}/24", "dev", end),
                ("link", "set", end, "up"),
                ("link", "set", "lo", "up"),
                ("route", "add", "224.0.0.0/4", "dev", end),
            ):
                done = ip("-n", name, *words)
                assert not done.returncode, done.stderr
        yield names, lambda state: ip("-n", names[0], "link", "set", ends[0], state)
    finally:
        for name in names:
            ip("netns", "delete", name)


# One in each namespace: publishes pairs up to the number in a file, prints what it hears.
HOST = """
import sys, time
from pathlib import Path
import rclpy
from deeplab_miou_msgs.msg import ConfusionMatrix, MeanIoU
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

target = Path(sys.argv[1])
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
rclpy.init()
node = rclpy.create_node("host")
topics = ["/camera/image", "/camera/labels"] if target.exists() else []
publishers = [node.create_publisher(Image, topic, 1000) for topic in topics]

def listen(kind, topic):
    def tell(message):
        print(kind.__name__, message.frames, "frames", flush=True)

    node.create_subscription(kind, topic, tell, latched)

listen(ConfusionMatrix, "/deeplab_evaluator/confusion")
listen(MeanIoU, "/miou_publisher/result")
sent = 0
message = Image(height=1, width=3, step=3, encoding="mono8", data=[0, 1, 2])
while True:
    rclpy.spin_once(node, timeout_sec=0.02)
    if publishers and all(p.get_subscription_count() for p in publishers):
        while sent < int(target.read_text()):
            sent += 1
            message.header.stamp.sec = sent
            for publisher in publishers:
                publisher.publish(message)
"""


def test_partition_loses_no_count(  # noqa: PLR0917  fixtures
    domain, two_hosts, start_evaluator, start_publisher, ros_process, tmp_path, monkeypatch
):
    assert domain
    (here, there), cable = two_hosts
    # Shared memory would reach past the cable.
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    (tmp_path / "host.py").write_text(HOST)
    target = tmp_path / "target"

    def send_up_to(number):
        (tmp_path / "new").write_text(str(number))
        (tmp_path / "new").replace(target)

    send_up_to(10)
    with inside(here):
        start_evaluator()
        near = ros_process("host", str(target))
    with inside(there):
        start_publisher()
        far = ros_process("host", str(tmp_path / "none"))
    far.wait_for_output("MeanIoU 10 frames")
    assert not cable("down").returncode
    send_up_to(40)
    near.wait_for_output("ConfusionMatrix 40 frames")
    assert not far.lines("MeanIoU 40 frames")
    assert not cable("up").returncode
    far.wait_for_output("MeanIoU 40 frames")
    send_up_to(41)
    far.wait_for_output("MeanIoU 41 frames")
