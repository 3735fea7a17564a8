"""Predictions, their confidence and the names of their ids, as costmaps want them, over DDS."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from graph_support import BEST_EFFORT, EVALUATOR, LATCHED, Camera, image
from sensor_msgs.msg import Image

LABELS = "classes: [{name: road}, {name: car}, {name: sky}]"
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
TRUTH = np.zeros((48, 64), np.uint8)
LIMIT_S = 60


def logits():
    torch.manual_seed(0)
    return nn.Conv2d(3, 3, 5, stride=4, padding=2).eval()


@pytest.fixture
def start(ros_process, tmp_path):
    """Start an evaluator of a network that somebody saved as TorchScript."""

    def run(network):
        path = tmp_path / "network.ts"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.trace(network, torch.zeros(1, 3, 24, 32)).save(str(path))
        labels = tmp_path / "labels.yaml"
        labels.write_text(LABELS)
        parameters = {"checkpoint": str(path), "labels": str(labels), "device": "cpu", "threads": 1}
        return ros_process("deeplab_miou.nodes.evaluator", parameters=parameters)

    return run


def send(camera, stamp):
    height, width, _ = PIXELS.shape
    camera.images.publish(
        image(PIXELS.reshape(height, -1), stamp, encoding="rgb8", width=width, step=3 * width)
    )
    camera.labels.publish(image(TRUTH, stamp))


@pytest.mark.parametrize("softmax_inside", [False, True])
def test_confidence_is_what_torch_says(start, graph, softmax_inside):
    network = logits()
    start(nn.Sequential(network, nn.Softmax(1)) if softmax_inside else network)
    camera = Camera(graph)
    graph.wait_until(
        lambda: camera.images.get_subscription_count() and camera.labels.get_subscription_count(),
        LIMIT_S,
    )
    predictions, confidences = (
        graph.subscribe(Image, f"{EVALUATOR}/{name}", BEST_EFFORT)
        for name in ("prediction", "confidence")
    )
    stamps = iter(range(1, 10_000))

    def pair():
        known = {message.header.stamp.sec: message for message in list(predictions.messages)}
        found = (m for m in list(confidences.messages) if m.header.stamp.sec in known)
        return next(((known[m.header.stamp.sec], m) for m in found), None)

    prediction, confidence = graph.repeat_until(lambda: send(camera, next(stamps)), pair, LIMIT_S)
    assert confidence.header == prediction.header
    assert (confidence.encoding, confidence.height, confidence.width) == ("mono8", *TRUTH.shape)

    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    pixels = torch.from_numpy(PIXELS).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        coarse = network((pixels - mean) / std)
        if softmax_inside:
            whole = F.interpolate(coarse.softmax(1), size=TRUTH.shape, mode="bilinear")
        else:
            whole = F.interpolate(coarse, size=TRUTH.shape, mode="bilinear").softmax(1)
    shares, ids = whole[0].max(0)
    told = np.frombuffer(confidence.data, np.uint8).reshape(TRUTH.shape).astype(int)
    assert np.abs(told - 255 * shares.numpy()).max() <= 1
    labels = np.frombuffer(prediction.data, np.uint8).reshape(TRUTH.shape)
    assert (labels == ids.numpy()).mean() > 0.999
    assert set(labels.ravel()) == {0, 1, 2}


def test_predictions_of_a_topic_have_no_confidence(start_evaluator, graph):
    start_evaluator()
    Camera(graph).connect()
    names = {
        name
        for name, _ in graph.node.get_publisher_names_and_types_by_node(
            EVALUATOR.removeprefix("/"), "/"
        )
    }
    assert f"{EVALUATOR}/prediction" in names
    assert f"{EVALUATOR}/confidence" not in names


def test_the_names_of_predicted_ids_are_latched_and_follow_the_label_map(
    start_evaluator, graph, tmp_path
):
    messages = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    path = tmp_path / "labels.yaml"
    path.write_text(LABELS)
    start_evaluator(labels=str(path))
    Camera(graph).connect()
    told = graph.subscribe(messages.LabelInfo, f"{EVALUATOR}/label_info", LATCHED)
    info = told.wait()
    assert [(e.class_id, e.class_name) for e in info.class_map] == [
        (0, "road"), (1, "car"), (2, "sky"),
    ]  # fmt: skip
    assert info.threshold == 0
    path.write_text("classes: [{name: tree}, {name: car}]")
    for label in ("deactivate", "cleanup", "configure"):
        assert graph.transition(EVALUATOR, label), label
    info = told.wait(after=info)
    assert [(e.class_id, e.class_name) for e in info.class_map] == [(0, "tree"), (1, "car")]
