"""Real frames through a real network: live over DDS, offline, and by scikit-learn, all equal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_files import raw_image

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

import cv2
import torch
from graph_support import IMAGE, LABEL, PUBLISHER
from sklearn.metrics import confusion_matrix as reference_matrix
from sklearn.metrics import jaccard_score

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import DeepLabV3Plus
from deeplab_miou.model.segmenter import Segmenter
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"
FRAMES = 40
CLASSES = 11
IGNORED = 11

pytestmark = pytest.mark.skipif(
    not CAMVID.is_dir(), reason=f"the CamVid frames are not at {CAMVID}"
)


def read(path, flag):
    return np.ascontiguousarray(cv2.imread(str(path), flag))


@pytest.fixture
def checkpoint(tmp_path):
    """A network that was never trained: its scores are poor, its labels as exact as any."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(
        Architecture(num_classes=CLASSES, width=0.35, aspp_width=32, low_width=16, decoder_width=32)
    ).eval()
    path = tmp_path / "network.safetensors"
    checkpoints.save(
        path,
        network,
        label_map=load_label_map("camvid11"),
        preprocessing=checkpoints.Preprocessing(size=(180, 240)),
        provenance={},
    )
    return path


@pytest.fixture
def frames():
    names = sorted(path.name for path in (CAMVID / "images").glob("*.png"))
    assert len(names) == FRAMES
    return [
        (
            read(CAMVID / "images" / name, cv2.IMREAD_COLOR),
            read(CAMVID / "labels" / name, cv2.IMREAD_UNCHANGED),
        )
        for name in names
    ]


@pytest.fixture
def bag(tmp_path, frames):
    path = tmp_path / "camvid"
    with BagWriter(path) as writer:
        for index, (bgr, label) in enumerate(frames):
            for topic, encoding, pixels in (
                (IMAGE, "bgr8", bgr),
                (LABEL, "mono8", label),
            ):
                stamp_ns = (index + 1) * 100_000_000
                writer.write_image(topic, stamp_ns, "camera", raw_image(pixels, encoding))
    return path


def test_live_offline_and_scikit_learn_agree_to_the_last_count(
    tmp_path, ros_process, bag, checkpoint, frames
):
    ros_process(
        "deeplab_miou.nodes.evaluator",
        parameters={"checkpoint": str(checkpoint), "threads": 1},
    )
    publisher = ros_process(
        "deeplab_miou.nodes.publisher", parameters={"report_directory": str(tmp_path / "live")}
    )
    replayer = ros_process(
        "deeplab_miou.nodes.replayer",
        parameters={"bag": str(bag), "paced": True, "publisher": PUBLISHER},
    )
    assert replayer.wait(120) == 0
    assert publisher.stop()[0] == 0
    live = json.loads((tmp_path / "live" / "report.json").read_text())

    engine = EngineOptions(checkpoint=str(checkpoint), threads=1)
    report = evaluate(OfflineOptions(bag=str(bag), engine=engine)).report

    segmenter = Segmenter(checkpoints.load(checkpoint), device="cpu", threads=1)
    truth, guess = [], []
    for bgr, label in frames:
        (prediction,) = segmenter.predict([bgr[..., ::-1]], [label.shape])
        truth.append(label[label != IGNORED])
        guess.append(prediction[label != IGNORED])
    truth, guess = np.concatenate(truth), np.concatenate(guess)
    expected = reference_matrix(truth, guess, labels=range(CLASSES))

    assert live["frames"] == report.result.totals.counts.frames == FRAMES
    assert report.result.totals.counts.matrix[:, :CLASSES].tolist() == expected.tolist()
    assert report.result.totals.counts.matrix[:, CLASSES].sum() == 0
    assert live["confusion"] == report.result.totals.counts.matrix.tolist()
    iou = jaccard_score(truth, guess, labels=range(CLASSES), average=None, zero_division=0)
    present = expected.sum(0) + expected.sum(1) > 0
    np.testing.assert_allclose(report.result.scores.iou[present], iou[present], rtol=1e-12)
    assert live["miou"] == pytest.approx(iou[present].mean(), rel=1e-12)
    ignored = sum(int((label == IGNORED).sum()) for _, label in frames)
    assert live["ignored_pixels"] == report.result.totals.counts.ignored == ignored
    assert live["accounting"]["images"]["evaluated"] == FRAMES
