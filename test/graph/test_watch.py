"""The live page's node among real nodes: what a browser is sent is what the messages say."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import socket

import aiohttp
import cv2
import numpy as np
import pytest
from image_files import mono8

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import (
    ClassDifference,
    ClassIoU,
    Comparison,
    ConfusionMatrix,
    MeanIoU,
    RegionIoU,
    StreamAccount,
)
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from graph_support import EVALUATOR, IMAGE, LATCHED, PUBLISHER, Camera, image

from deeplab_miou.bags.writer import BagWriter

LIMIT_S = 60.0
WATCH = "/miou_watch"


@pytest.fixture
def watch(ros_process):
    """Start the node; return process and address of the page."""

    def start(**parameters):
        process = ros_process("deeplab_miou.nodes.watch", parameters={"port": 0, **parameters})
        line = process.wait_for_output("watch the score at")
        return process, re.search(r"http://\S+", line)[0]

    return start


class Browser:
    """Follows a stream of events, as a page does, and keeps the newest of each name."""

    def __init__(self, address):
        self.address = address
        self.shown = {}
        self.limit_s = LIMIT_S

    def read(self, right):
        """Connect anew and read until what is shown is right."""
        self.shown = {}
        asyncio.run(asyncio.wait_for(self._read(right), self.limit_s))
        return self.shown

    async def _read(self, right):
        async with (
            aiohttp.ClientSession(read_bufsize=2**22) as client,
            client.get(self.address + "events") as response,
        ):
            assert response.status == 200
            name = ""
            async for line in response.content:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    self.shown[name] = json.loads(value)
                    if right(self.shown):
                        return
        raise AssertionError(f"the stream ended, shown is {self.shown}")


def of_result(frames):
    return lambda shown: shown.get("result", {}).get("frames") == frames


def plain(value):
    """Return a number as JSON has it."""
    return None if isinstance(value, float) and math.isnan(value) else value


def test_numbers_are_those_of_the_messages_of_running_nodes(ros_process, graph, watch):
    topic = {"source": "topic", "labels": "cityscapes_train_ids", "queue_size": 100}
    ros_process("deeplab_miou.nodes.evaluator", parameters=topic)
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    _, address = watch()
    results = graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    windows = graph.subscribe(MeanIoU, f"{PUBLISHER}/window", LATCHED)
    camera = Camera(graph).listen()
    camera.heard_by(3)  # ours, the publisher's and the page's
    random = np.random.default_rng(1)
    truth = random.integers(0, 19, (40, 6, 8)).astype(np.uint8)
    wrong = random.random(truth.shape) < 0.3
    predicted = np.where(wrong, random.integers(0, 19, truth.shape), truth).astype(np.uint8)
    for sec in range(40):
        camera.send(200 + sec, predicted[sec], truth[sec])
    camera.images.publish(image([[0]], 1000))
    message = results.wait(lambda message: message.frames == 40 and message.images.received == 41)
    window = windows.wait(lambda message: message.frames == 40)
    shown = Browser(address).read(
        lambda shown: (
            of_result(40)(shown)
            and shown.get("account", {}).get("images", {}).get("received") == 41
            and shown.get("confusion", {}).get("frames") == 40
            and {node["name"] for node in shown.get("nodes", [])}
            >= {f"{EVALUATOR}: evaluation", f"{PUBLISHER}: scores"}
        )
    )
    # Counted independently of everything that is tested.
    matrix = np.zeros((19, 20), int)
    np.add.at(matrix, (truth.ravel(), predicted.ravel()), 1)
    assert shown["confusion"]["counts"] == matrix.tolist()
    hits = np.diag(matrix)
    iou = hits / (matrix.sum(1) + matrix.sum(0)[:19] - hits)
    result = shown["result"]
    assert result["miou"] == pytest.approx(iou.mean())
    assert [each["iou"] for each in result["classes"]] == pytest.approx(iou.tolist())
    for name in (
        *("miou", "miou_lower", "miou_upper", "miou_anytime_lower", "miou_anytime_upper"),
        *("weighted_miou", "frequency_weighted_iou", "pixel_accuracy", "mean_accuracy"),
        *("frames", "labelled_pixels", "present_classes"),
    ):
        assert result[name] == plain(getattr(message, name)), name
    assert result["miou_lower"] < result["miou"] < result["miou_upper"]
    for each, entry in zip(result["classes"], message.classes, strict=True):
        assert {name: plain(getattr(entry, name)) for name in each} == each
    assert shown["window"]["miou"] == window.miou
    images = {"received": 41, "evaluated": 40, "waiting": 1, "dropped": {}}
    assert shown["account"]["images"] == images
    assert shown["history"]["result"][-1][1] <= 40


def scores(frames, names, **fields):
    """Return a result as a publisher sends it."""
    classes = [
        ClassIoU(
            id=index, name=name, iou=0.25, iou_lower=math.nan, iou_upper=math.nan, true_positive=7
        )
        for index, name in enumerate(names)
    ]
    message = MeanIoU(frames=frames, miou=0.25, classes=classes, sources=[EVALUATOR])
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def test_a_page_goes_on_over_a_restart_of_node_and_publisher(graph, watch):
    results = graph.publisher(MeanIoU, f"{PUBLISHER}/result", LATCHED, subscribers=0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process, address = watch(port=port)
    browser = Browser(address)
    results.publish(scores(3, ["road"]))
    before = browser.read(of_result(3))
    assert process.stop()[0] == 0
    with pytest.raises(aiohttp.ClientConnectionError):
        browser.read(of_result(3))
    _, again = watch(port=port)
    assert again == address
    # The same page, so that it need not be loaded again, and the latched result.
    after = browser.read(of_result(3))
    assert after["hello"] == before["hello"]
    results.publish(scores(4, ["road"]))
    browser.read(of_result(4))
    # A publisher that comes back begins with nothing counted.
    graph.node.destroy_publisher(results)
    results = graph.publisher(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    results.publish(scores(1, ["road"], miou=math.nan))
    assert browser.read(of_result(1))["result"]["miou"] is None


def test_a_replay_shows_how_far_it_is(ros_process, graph, watch, tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(31):
            writer.write_image(IMAGE, (index + 1) * 10**8, "camera", mono8([[0]]))
    _, address = watch()
    ros_process("deeplab_miou.nodes.replayer", str(tmp_path / "bag"), parameters={"loop": True})

    def replay(shown):
        return [node for node in shown.get("nodes", []) if node["name"] == "/bag_replayer: replay"]

    seen = set()

    def went_on(shown):
        for node in replay(shown):
            played_s, all_s = (float(node["values"][k]) for k in ("played (s)", "to play (s)"))
            assert all_s == pytest.approx(3.0, abs=0.01)
            assert 0 <= played_s <= all_s
            assert f"played {played_s:.1f} of {all_s:.1f} s, " in node["message"]
            seen.add(played_s)
        return len(seen) > 2

    Browser(address).read(went_on)
    assert graph.node.count_publishers("/diagnostics")


def test_the_command_becomes_the_node(ros_process, graph):
    process = ros_process(
        "deeplab_miou.cli", "watch", "--port", "0", "--publisher", "/other/publisher"
    )
    address = re.search(r"http://\S+", process.wait_for_output("watch the score at"))[0]
    graph.publisher(MeanIoU, "/other/publisher/result", LATCHED).publish(scores(6, ["road"]))
    Browser(address).read(of_result(6))
    assert process.stop()[0] == 0


def test_the_command_ends_where_the_port_is_taken(ros_process):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = ros_process("deeplab_miou.cli", "watch", "--port", port)
        assert process.wait() == 1
    assert f"port {port}" in process.output
    assert "Traceback" not in process.output


def test_the_demo_waits_for_its_watcher_and_is_watched(ros_process, tmp_path):
    output = str(tmp_path / "out")
    process = ros_process(
        "deeplab_miou.cli", "demo", "--frames", "24", "--output", output, "--watch"
    )
    line = process.wait_for_output("watch the score at", timeout_s=120)
    browser = Browser(re.search(r"http://[^;\s]+", line)[0])
    browser.limit_s = 120
    shown = browser.read(lambda shown: shown.get("result", {}).get("frames"))
    assert process.wait(timeout_s=120) == 0
    assert "live = offline" in process.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["name"] for each in shown["result"]["classes"]] == [
        each["name"] for each in report["classes"]
    ]
    assert 0 < shown["result"]["frames"] <= report["frames"]


def test_150_classes_and_names_with_markup_arrive_as_they_are(graph, watch):
    _, address = watch()
    names = [f"class {index}" for index in range(149)] + ["<img src=x onerror=alert(1)>\"'&"]
    regions = [RegionIoU(name=names[-1], miou=0.5, miou_lower=math.nan, interval_note="why")]
    regions[0].classes = scores(2, names).classes
    result = scores(2, names, regions=regions)
    result.classes[3].boundary_errors = 0.125
    result.frames_without_depth, result.pixels_missing_depth = 3, 12_345
    graph.publisher(MeanIoU, f"{PUBLISHER}/result", LATCHED).publish(result)
    counts = np.arange(150 * 151)
    state = ConfusionMatrix(
        source=EVALUATOR,
        run_id="r",
        sequence=1,
        frames=2,
        class_names=names,
        counts=counts.tolist(),
        images=StreamAccount(received=2, evaluated=2),
    )
    graph.publisher(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED).publish(state)
    shown = Browser(address).read(
        lambda shown: of_result(2)(shown) and shown.get("confusion", {}).get("frames") == 2
    )
    assert [each["name"] for each in shown["result"]["classes"]] == names
    assert shown["result"]["classes"][3]["boundary_errors"] == 0.125
    (region,) = shown["result"]["regions"]
    assert [each["name"] for each in region.pop("classes")] == names
    assert region == {
        "name": names[-1],
        "miou": 0.5,
        "miou_lower": None,
        "miou_upper": 0.0,
        "labelled_pixels": 0,
        "interval_note": "why",
    }
    assert shown["result"]["depth"].startswith("depth: of 2 frames 3 have no depth image and 0 one")
    assert "12,345 labelled pixels have no depth" in shown["result"]["depth"]
    assert shown["confusion"]["names"] == names
    assert shown["confusion"]["counts"] == counts.reshape(150, 151).tolist()


def test_a_node_that_stops_reporting_is_silent_until_it_reports_again(graph, watch):
    _, address = watch()
    diagnostics = graph.publisher(DiagnosticArray, "/diagnostics", 10)
    browser = Browser(address)

    def is_silent():
        (node,) = browser.shown.get("nodes") or [{}]
        return node.get("is_silent")

    for _ in range(2):
        diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name=f"{PUBLISHER}: scores")]))
        browser.read(lambda _: is_silent() is False)
        browser.read(lambda _: is_silent())


def test_what_nobody_real_sends_is_not_shown_and_ends_nothing(graph, watch):
    process, address = watch()
    publisher = graph.publisher(MeanIoU, f"{PUBLISHER}/result", LATCHED)
    publisher.publish(scores(1, ["road"] * 300))
    assert "300 classes, expected at most 255" in process.wait_for_output("is not shown")
    publisher.publish(scores(2, ["a\nb"]))
    publisher.publish(scores(2, ["road"], regions=[RegionIoU(name="r")] * 65))
    publisher.publish(scores(3, ["road"], sources=["no name", "/x//y", "/~", "/" + "z" * 250]))
    browser = Browser(address)
    browser.read(of_result(3))
    diagnostics = graph.publisher(DiagnosticArray, "/diagnostics", 10)
    statuses = [
        DiagnosticStatus(name=f"/stranger_{index}: x", message="no concern of ours")
        for index in range(300)
    ]
    values = [KeyValue(key=str(index), value="v" * 5000) for index in range(500)]
    statuses.append(
        DiagnosticStatus(name=f"{PUBLISHER}: scores", level=b"\x02", message="bad", values=values)
    )
    diagnostics.publish(DiagnosticArray(status=statuses))
    (node,) = browser.read(lambda shown: shown.get("nodes"))["nodes"]
    assert (node["name"], node["level"], node["message"]) == (f"{PUBLISHER}: scores", 2, "bad")
    assert len(node["values"]) == 100
    assert max(map(len, node["values"].values())) == 1000
    publisher.publish(scores(4, ["road"]))
    browser.read(of_result(4))
    assert process.stop()[0] == 0


def test_a_port_in_use_is_one_line_and_can_be_mended(ros_process, graph):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = ros_process("deeplab_miou.nodes.watch", parameters={"port": port})
        assert f"port {port}" in process.wait_for_output("cannot configure")
        process.wait_for_output("autostart: configure failed")
        assert "Traceback" not in process.output
        assert graph.state(WATCH) == "unconfigured"
        assert graph.set_parameter(WATCH, "port", 0) == ""
        graph.bring_up(WATCH)
    process.wait_for_output("watch the score at http://127.0.0.1:")
    assert process.stop()[0] == 0


def test_a_comparison_is_shown_as_it_is_said(graph, watch):
    comparisons = graph.node.create_publisher(Comparison, "/miou_comparer/comparison", LATCHED)
    _, address = watch()
    message = Comparison(name_a="old.pth", name_b="new.pth", frames=12, verdict="better")
    message.difference, message.lower, message.upper = 0.25, 0.125, math.nan
    message.decision, message.decided_frames = "better", 10
    message.decided_stamp.sec = 7
    message.reasons, message.only_a, message.only_b = ["queue_full", "x"], [2, 1], [0, 4]
    message.classes = [ClassDifference(id=0, name="road", difference=0.5, verdict="worse")]
    comparisons.publish(message)
    shown = Browser(address).read(lambda shown: "comparison" in shown)["comparison"]
    for name in ("name_a", "name_b", "frames", "verdict", "difference", "lower", "upper"):
        assert shown[name] == plain(getattr(message, name))
    assert (shown["decided_at"], shown["decided_frames"]) == ("7.000 s", 10)
    assert (shown["only_a"], shown["only_b"]) == (3, 4)
    (road,) = shown["classes"]
    assert (road["name"], road["difference"], road["verdict"]) == ("road", 0.5, "worse")


def test_the_worst_moments_have_the_pictures_of_their_frames(ros_process, graph, watch):
    topic = {"source": "topic", "labels": "cityscapes_train_ids", "queue_size": 100}
    ros_process("deeplab_miou.nodes.evaluator", parameters=topic)
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    _, address = watch()
    camera = Camera(graph).connect()
    truth = np.zeros((30, 40), np.uint8)
    numbers = itertools.count(100)
    camera.send(next(numbers), truth, truth)
    browser = Browser(address)
    browser.read(of_result(1))

    async def ask_for(name):
        async with aiohttp.ClientSession() as client, client.get(address + name) as response:
            return response.status, await response.read()

    def pictured():
        # While somebody looks, frames that get worse and worse.
        asyncio.run(ask_for("overlay.jpg"))
        truths.append(asyncio.run(ask_for("ground_truth.jpg")))
        second = next(numbers)
        guess = truth.copy()
        guess[: (second - 99) % 30] = 1
        camera.send(second, guess, truth)
        browser.read(lambda shown: "confusion" in shown and "worst" in shown)
        return [each for each in browser.shown["worst"] if each["picture"]]

    found, truths = [], []
    graph.repeat_until(
        lambda: found.append(pictured()),
        lambda: any(found) and truths[-1][0] == 200,
        40.0,
        0.2,
    )
    worst = next(filter(None, found))[0]
    second = int(float(worst["moment"].split()[0]))
    rows = (second - 99) % 30
    # All of class 0 in the ground truth, so many rows of it taken for class 1.
    assert worst["miou"] == pytest.approx((30 - rows) / 30)
    assert worst["pixels"] == 40 * rows
    status, jpeg = asyncio.run(ask_for(f"worst/{worst['picture']}.jpg"))
    assert status == 200
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (30, 40, 3)
    # Painted over by the prediction: the upper rows differ from the lower ones.
    assert np.abs(picture[0].astype(int) - picture[-1].astype(int)).mean() > 20
    # The ground truth is of one class.
    truth = cv2.imdecode(np.frombuffer(truths[-1][1], np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(truth[0].astype(int) - truth[-1].astype(int)).mean() < 3
    assert asyncio.run(ask_for(f"worst/{'0' * 16}.jpg"))[0] == 204
    assert asyncio.run(ask_for("worst/x.jpg"))[0] == 404
