"""Two evaluators on the same topics and the node that compares them, over real DDS."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from image_files import mono8

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import Comparison
from graph_support import IMAGE, LATCHED, LIVE, image
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from deeplab_miou import cli
from deeplab_miou.bags.writer import BagWriter

LIMIT_S = 60.0
A, B, COMPARER = "/current", "/candidate", "/miou_comparer"
FRAMES = 80
STEP_NS = 500_000_000
START_NS = 1_700_000_000_000_000_000
NAMES = ("road", "car", "pole")


@pytest.fixture
def drive(tmp_path):
    """A drive of 40 s with labels for all but every eighth frame; returns truth, old and new."""
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, (FRAMES, 24, 32)).astype(np.uint8)
    maps = {"truth": truth}
    for name, share in (("old", 0.2), ("new", 0.1)):
        wrong = random.random(truth.shape) < share * random.uniform(0.5, 1.5, (FRAMES, 1, 1))
        maps[name] = np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(FRAMES):
            for name, ids in maps.items():
                if name != "truth" or k % 8:
                    writer.write_image(f"/{name}", START_NS + k * STEP_NS, "", mono8(ids[k]))
    rows = "".join(f"  - {{name: {n}, ids: [{k}]}}\n" for k, n in enumerate(NAMES))
    (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")
    return maps


@pytest.fixture
def duel(ros_process, graph, tmp_path, drive):  # noqa: ARG001  the drive has the label map
    """Start both evaluators and the comparer; return processes, comparisons and a starter."""

    def start(**parameters):
        labels = str(tmp_path / "map.yaml")
        common = {"source": "topic", "labels": labels, "label_topic": "/truth"}
        processes = {}

        def start_evaluator(name):
            topic = {A: "/old", B: "/new"}[name]
            own = {**common, "image_topic": topic, "queue_size": 20}
            processes[name] = ros_process(
                "deeplab_miou.nodes.evaluator", name=name[1:], parameters=own
            )

        start_evaluator(A)
        start_evaluator(B)
        found = graph.subscribe(Comparison, f"{COMPARER}/comparison", LATCHED)
        processes[COMPARER] = ros_process(
            "deeplab_miou.nodes.comparer",
            parameters={
                "evaluator_a": A,
                "evaluator_b": B,
                "publish_period": 0.1,
                "labels": labels,
                **parameters,
            },
        )
        return processes, found, start_evaluator

    return start


class Street:
    """Publishes predictions of both and labels."""

    def __init__(self, graph):
        self.graph = graph
        self.topics = {
            name: graph.publisher(Image, f"/{name}", LIVE, subscribers=count)
            for name, count in (("old", 1), ("new", 1), ("truth", 2))
        }

    def send(self, sec, **ids):
        for name, each in ids.items():
            self.topics[name].publish(image(each, sec))

    def settle(self, found):
        """See that outcomes reach the comparer from now on, then let all start from zero."""
        flat = np.zeros((2, 2), np.uint8)
        second = iter(range(1, 10_000))
        first = self.graph.repeat_until(
            lambda: self.send(next(second), old=flat, new=flat, truth=flat),
            lambda: next((m for m in found.messages if m.frames and m.predicted_frames), None),
            LIMIT_S,
        )
        for name in (A, B):
            assert self.graph.call(Trigger, f"{name}/reset").success
        return found.wait(lambda m: m.restarts == 2 and not m.frames, LIMIT_S, after=first)


def iou_of(truth, prediction):
    return np.array(
        [
            np.sum((truth == c) & (prediction == c)) / np.sum((truth == c) | (prediction == c))
            for c in range(3)
        ]
    )


def plain(value):
    return None if np.isnan(value) else value


def test_a_replayed_bag_is_compared_as_offline(duel, ros_process, graph, tmp_path, drive):
    processes, found, _ = duel(report_directory=str(tmp_path / "live"))
    anew = Street(graph).settle(found)
    assert "was reset: counting began anew" in anew.note
    replayer = ros_process(
        "deeplab_miou.nodes.replayer",
        str(tmp_path / "bag"),
        parameters={"paced": True, "evaluators": [A, B], "topics": ["/old", "/new", "/truth"]},
    )
    assert replayer.wait(LIMIT_S) == 0
    labelled = np.arange(FRAMES) % 8 > 0
    count = int(labelled.sum())
    live = found.wait(lambda m: m.frames == count, LIMIT_S, after=anew)
    # Counted by NumPy.
    truth, old, new = (drive[name][labelled] for name in ("truth", "old", "new"))
    gain = iou_of(truth, new) - iou_of(truth, old)
    assert live.miou_a == pytest.approx(iou_of(truth, old).mean())
    assert live.difference == pytest.approx(gain.mean())
    assert [each.difference for each in live.classes] == pytest.approx(gain.tolist())
    assert (live.source_a, live.source_b) == (A, B)
    # By the command, on the same bag.
    words = ["topic:/old", "topic:/new", str(tmp_path / "bag"), "--label-topic", "/truth"]
    words += ["--labels", str(tmp_path / "map.yaml"), "--output", str(tmp_path / "offline")]
    assert cli.main(["compare", *words]) == 0
    offline = json.loads((tmp_path / "offline" / "compare.json").read_text())
    fields = ("difference", "lower", "upper", "anytime_lower", "anytime_upper", "verdict")
    for ours, theirs in ((live, offline), *zip(live.classes, offline["classes"], strict=True)):
        for name in fields:
            value = getattr(ours, name)
            assert (value if name == "verdict" else plain(value)) == theirs[name]
    for name in ("became_worse", "became_better"):
        stamps = [each.stamp.sec * 10**9 + each.stamp.nanosec for each in getattr(live, name)]
        assert stamps == [each["stamp_ns"] for each in offline[name]]
    assert (live.decision, live.verdict) == ("better", "better")
    # It takes 16 blocks of a second with labels, and is known by the frames before the next.
    assert 28 <= live.decided_frames < count
    assert list(live.reasons) == []
    assert (live.missing_a, live.missing_b, live.waiting_a, live.waiting_b) == (0, 0, 0, 0)
    line = processes[COMPARER].wait_for_output("decided at 2023-11-14")
    assert f"after {live.decided_frames} frames: B is better than A" in line
    # What it writes when it ends is what the command writes.
    code, _ = processes[COMPARER].stop()
    assert code == 0
    written = json.loads((tmp_path / "live" / "compare.json").read_text())
    for name in (*fields, "miou_a", "miou_b", "blocks", "frames", "margin"):
        assert written[name] == offline[name]
    assert [each["difference"] for each in written["classes"]] == [
        each["difference"] for each in offline["classes"]
    ]
    assert any(each.startswith("decided at 2023-11-14") for each in written["remarks"])
    page = (tmp_path / "live" / "compare.html").read_text()
    assert len(re.findall("data:image/jpeg", page)) == len(written["most_disagreeing"]) > 0


def test_frames_of_one_only_are_counted_under_the_reason_of_the_other(duel, graph, drive):
    processes, found, start = duel()
    street = Street(graph)
    anew = street.settle(found)
    truth, old, new = (drive[name] for name in ("truth", "old", "new"))
    for k in range(20):
        # B gets the 5th frame in another size, and nothing of the 10th.
        ids = {"old": old[k], "new": new[k], "truth": truth[k]}
        if k == 5:
            ids["new"] = new[k][:10]
        if k == 10:
            del ids["new"]
        street.send(1000 + k, **ids)
    last = found.wait(
        lambda m: m.frames == 18 and list(m.reasons) and m.waiting_a == 1, LIMIT_S, after=anew
    )
    assert dict(zip(last.reasons, last.only_a, strict=True)) == {"size_mismatch": 1}
    assert list(last.only_b) == [0]
    both = [k for k in range(20) if k not in (5, 10)]
    assert last.miou_b == pytest.approx(iou_of(truth[both], new[both]).mean())
    shown = found.wait(lambda m: m.predicted_frames == 18, LIMIT_S, after=anew)
    assert shown.disagreement == pytest.approx(np.mean(old[both] != new[both]))
    # B is restarted: nothing of before is compared with what it says now.
    assert processes[B].stop()[0] == 0
    start(B)
    second = iter(range(5000, 10_000))
    again = graph.repeat_until(
        lambda: street.send(next(second), old=old[0], new=new[1], truth=truth[1]),
        lambda: next((m for m in found.messages if m.restarts == 3 and m.frames), None),
        LIMIT_S,
    )
    assert again.note == f"B ({B}) was restarted: counting began anew"
    assert again.miou_a == pytest.approx(iou_of(truth[1], old[0]).mean())
    assert again.miou_b == pytest.approx(iou_of(truth[1], new[1]).mean())


def test_where_there_are_no_labels_the_disagreement_is_still_known(ros_process, graph):
    """Two networks on a camera that nobody labels."""
    common = {"checkpoint": "demo", "device": "cpu", "hold_frames": 2, "predict_unlabelled": True}
    other = {**common, "mean": [0.2, 0.6, 0.4]}
    evaluators = [
        ros_process("deeplab_miou.nodes.evaluator", name=name[1:], parameters=parameters)
        for name, parameters in ((A, common), (B, other))
    ]
    predictions = [graph.subscribe(Image, f"{name}/prediction", LIVE) for name in (A, B)]
    found = graph.subscribe(Comparison, f"{COMPARER}/comparison", LATCHED)
    ros_process(
        "deeplab_miou.nodes.comparer",
        parameters={"evaluator_a": A, "evaluator_b": B, "publish_period": 0.1},
    )
    camera = graph.node.create_publisher(Image, IMAGE, LIVE)
    for evaluator in evaluators:
        evaluator.wait_for_output("subscribed to", 2 * LIMIT_S)  # networks are loaded first
    random = np.random.default_rng(2)
    second = iter(range(1, 10_000))

    def send():
        picture = np.repeat(np.repeat(random.integers(0, 256, (12, 48)), 8, 0), 8, 1)
        camera.publish(image(picture, next(second), encoding="rgb8", width=128, step=384))

    last = graph.repeat_until(
        send,
        lambda: next((m for m in found.messages if m.predicted_frames >= 5), None),
        LIMIT_S,
        period_s=0.3,
    )
    assert last.frames == 0
    assert np.isnan(last.difference)
    by_stamp = [
        {m.header.stamp.sec: np.array(m.data).reshape(m.height, m.width) for m in inbox.messages}
        for inbox in predictions
    ]
    shares = {
        sec: np.mean(by_stamp[0][sec] != by_stamp[1][sec])
        for sec in by_stamp[0].keys() & by_stamp[1].keys()
    }
    assert len(last.most_disagreeing) > 0
    for each in last.most_disagreeing:
        assert each.disagreement == pytest.approx(shares[each.stamp.sec])
    assert last.disagreement > 0
    # They are images without a label all the same.
    later = found.wait(lambda m: m.neither >= 5, LIMIT_S)
    assert later.frames == 0
