from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_files import mono8, raw_image
from sklearn.metrics import confusion_matrix as reference_matrix

from deeplab_miou.accounting import StreamCounts
from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord, RunSnapshot
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.images.messages import CompressedImage, RawImage
from deeplab_miou.metric.counts import Counts
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions, WindowOptions
from deeplab_miou.report.agreement import find_differences
from deeplab_miou.report.report import Report

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"
SECOND = 1_000_000_000
CLASSES = 19


def random_ids(seed):
    ids = np.random.default_rng(seed).integers(0, CLASSES + 3, (24, 32)).astype(np.uint8)
    ids[ids >= CLASSES] = 255
    return ids


def write_bag(path, storage="mcap", frames=20, labelled=range(20), shift_ns=0):
    """Write predictions for all frames and labels for some; returns the expected matrix."""
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    with BagWriter(path, storage) as writer:
        writer.add_topic("/camera/image", "sensor_msgs/msg/Image")
        for index in range(frames):
            stamp_ns = (100 + index) * SECOND
            prediction, truth = random_ids(index), random_ids(1000 + index)
            writer.write_image("/prediction", stamp_ns, "camera", mono8(prediction))
            if index in labelled:
                writer.write_image("/camera/labels", stamp_ns + shift_ns, "camera", mono8(truth))
                for g, p in zip(truth.ravel(), prediction.ravel(), strict=True):
                    if g != 255:
                        matrix[g, min(p, CLASSES)] += 1
    return matrix


def options(bag, **changes):
    engine = EngineOptions(source="topic", labels="cityscapes_train_ids")
    values = {"bag": str(bag), "engine": engine, "prediction_topic": "/prediction"}
    return OfflineOptions(**(values | changes))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_known_predictions_give_the_known_matrix(tmp_path, storage):
    expected = write_bag(tmp_path / "bag", storage)
    seen = []
    evaluation = evaluate(options(tmp_path / "bag"), lambda *counts: seen.append(counts[:2]))
    report = evaluation.report
    assert np.array_equal(report.result.totals.counts.matrix, expected)
    assert report.result.totals.counts.frames == 20
    assert report.result.totals.account.images == StreamCounts(20, 20)
    assert seen[-1] == (40, 40)
    assert not evaluation.damaged
    assert report.provenance["mode"] == "offline"
    assert report.provenance["label_topic"] == "/camera/labels"
    assert report.provenance["label_map"] == "cityscapes_train_ids"
    assert report.result.intervals is not None


def test_a_publisher_that_hears_of_the_same_frames_says_the_same(tmp_path):
    write_bag(tmp_path / "bag", frames=40, labelled=range(40))
    window = WindowOptions(window_frames=7)
    offline = evaluate(options(tmp_path / "bag", window=window)).report
    live = Aggregate(window_frames=7)
    total = Counts.zero(CLASSES)
    names = offline.result.totals.class_names
    for sequence in range(1, 41):
        index = (sequence - 1) ^ 3  # not in the order of the stamps
        guess, truth = random_ids(index), random_ids(1000 + index)
        counted = truth != 255
        cells = truth[counted].astype(int) * (CLASSES + 1) + np.minimum(guess[counted], CLASSES)
        counts = np.bincount(cells, minlength=CLASSES * (CLASSES + 1))
        matrix = counts.reshape(CLASSES, CLASSES + 1)
        total += Counts(matrix, 1, int((~counted).sum()))
        run = RunSnapshot("r", 0, total, frame_sequence=sequence)
        live.add_state(EvaluatorState("/e", sequence, run, names), 0.0)
        kept = np.flatnonzero(counts)
        record = FrameRecord(
            source="/e",
            run_id="r",
            reset_count=0,
            sequence=sequence,
            stamp_ns=(100 + index) * SECOND,
            evaluated=True,
            cells=kept.astype(np.uint32),
            counts=counts[kept],
        )
        live.add_frame(record)
    expected = Report(live.result(0.0), window=live.window(0.0))
    ours, theirs = offline.to_dict(), expected.to_dict()
    assert len(ours["worst_frames"]) == 6
    assert (ours["window"]["frames"], ours["window"]["start_ns"]) == (7, 133 * SECOND)
    assert ours["intervals"]["miou_anytime"][0] < ours["miou"]
    theirs["accounting"] = ours["accounting"]
    assert find_differences(theirs, ours) == []


def test_frames_without_labels_are_accounted_for(tmp_path):
    expected = write_bag(tmp_path / "bag", labelled=range(0, 20, 5))
    evaluation = evaluate(options(tmp_path / "bag"))
    assert np.array_equal(evaluation.report.result.totals.counts.matrix, expected)
    images = evaluation.report.result.totals.account.images
    assert images.evaluated == 4
    assert images.dropped == {"unmatched_image": 16}
    assert "no label with its stamp" in evaluation.first_drops["unmatched_image"]


def test_the_tolerance_pairs_sloppy_stamps(tmp_path):
    expected = write_bag(tmp_path / "bag", shift_ns=20_000_000)
    assert evaluate(options(tmp_path / "bag")).report.result.totals.counts.frames == 0
    sloppy = evaluate(options(tmp_path / "bag", sync_tolerance=0.05)).report
    assert np.array_equal(sloppy.result.totals.counts.matrix, expected)


def test_start_and_duration_choose_frames(tmp_path):
    write_bag(tmp_path / "bag")
    report = evaluate(options(tmp_path / "bag", start=5, duration=3)).report
    assert report.result.totals.counts.frames == 3
    assert report.result.totals.account.images.received == 3


def test_absent_classes_change_the_mean_only(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for topic in ("/prediction", "/camera/labels"):
            writer.write_image(topic, SECOND, "", mono8(np.zeros((4, 4), np.uint8)))
    assert evaluate(options(tmp_path / "bag")).report.result.scores.miou == 1
    counted = evaluate(options(tmp_path / "bag", absent_classes="zero")).report
    assert counted.result.scores.miou == pytest.approx(1 / CLASSES)


def test_garbage_is_counted_and_the_rest_scored(tmp_path):
    good = mono8(random_ids(1))
    with BagWriter(tmp_path / "bag") as writer:
        for index, image in enumerate(
            [good, RawImage(24, 32, "mono8", is_bigendian=False, step=32, data=b"x"), good]
        ):
            writer.write_image("/prediction", index * SECOND, "", image)
            writer.write_image("/camera/labels", index * SECOND, "", good)
        writer.write("/prediction", "sensor_msgs/msg/Image", 5 * SECOND, b"\x00\x01\x00\x00oh")
    report = evaluate(options(tmp_path / "bag")).report
    assert report.result.totals.counts.frames == 2
    assert report.result.totals.account.images.dropped == {"truncated_data": 2}
    assert report.result.totals.account.images.received == 4
    assert report.result.totals.account.labels.dropped == {"unmatched_label": 1}


def test_a_truncated_bag_is_scored_as_far_as_it_goes(tmp_path):
    write_bag(tmp_path / "bag", frames=800, labelled=range(800))
    path = tmp_path / "bag" / "bag.mcap"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    evaluation = evaluate(options(tmp_path / "bag"))
    assert evaluation.damaged
    assert 300 < evaluation.report.result.totals.counts.frames < 800
    assert "breaks off" in evaluation.report.problems[0]


def test_mistakes_are_named(tmp_path):
    write_bag(tmp_path / "bag", frames=2)
    with pytest.raises(ConfigurationError, match=r"'/wrong'.*/prediction \(sensor_msgs/msg/Image"):
        evaluate(options(tmp_path / "bag", prediction_topic="/wrong"))
    with pytest.raises(ConfigurationError, match="both images and labels"):
        evaluate(options(tmp_path / "bag", prediction_topic="/camera/labels"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        evaluate(options(tmp_path / "none"))
    (tmp_path / "x.mcap").write_bytes(b"garbage")
    with pytest.raises(BagError, match="cannot be read"):
        evaluate(options(tmp_path / "x.mcap"))


@pytest.mark.skipif(not CAMVID.is_dir(), reason="the CamVid frames are not on this machine")
def test_real_frames_agree_with_scikit_learn(tmp_path):
    files = sorted((CAMVID / "labels").glob("*.png"))
    random = np.random.default_rng(0)
    truths, predictions = [], []
    with BagWriter(tmp_path / "bag") as writer:
        for index, file in enumerate(files):
            truth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            # Predictions like a network's: moved borders, and some pixels of any class.
            prediction = np.roll(truth, random.integers(-4, 5, 2), (0, 1))
            prediction[prediction == 11] = 3
            noise = random.random(truth.shape) < 0.02
            prediction[noise] = random.integers(0, 11, int(noise.sum()))
            stamp_ns = index * SECOND // 10
            writer.write_image("/prediction", stamp_ns, "", mono8(prediction))
            data = file.read_bytes()
            writer.write_image("/camera/labels", stamp_ns, "", CompressedImage("png", data))
            truths.append(truth.ravel())
            predictions.append(prediction.ravel())
    engine = EngineOptions(source="topic", labels="camvid11")
    report = evaluate(options(tmp_path / "bag", engine=engine)).report
    truth, prediction = np.concatenate(truths), np.concatenate(predictions)
    known = truth != 11
    expected = reference_matrix(truth[known], prediction[known], labels=range(11))
    assert report.result.totals.counts.frames == 40
    assert np.array_equal(report.result.totals.counts.matrix[:, :11], expected)
    assert not report.result.totals.counts.matrix[:, 11].any()
    assert report.result.totals.counts.ignored == int((~known).sum())


# A bag's bytes are read-only, which PyTorch warns of when it is shown them.
def test_a_network_is_run_on_the_images(tmp_path):
    torch = pytest.importorskip("torch")
    from deeplab_miou.labels.label_map import load_label_map  # noqa: PLC0415
    from deeplab_miou.model.checkpoints.checkpoint import Preprocessing  # noqa: PLC0415
    from deeplab_miou.model.checkpoints.native import save  # noqa: PLC0415
    from deeplab_miou.model.network.architecture import Architecture  # noqa: PLC0415
    from deeplab_miou.model.network.deeplab import DeepLabV3Plus  # noqa: PLC0415

    torch.manual_seed(0)
    label_map = load_label_map("cityscapes_train_ids")
    network = DeepLabV3Plus(Architecture(num_classes=CLASSES, width=0.25, aspp_width=16))
    path = tmp_path / "net.safetensors"
    save(path, network.eval(), label_map=label_map, preprocessing=Preprocessing(), provenance={})
    random = np.random.default_rng(0)
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(3):
            image = raw_image(random.integers(0, 256, (48, 64, 3), np.uint8), "rgb8")
            writer.write_image("/camera/image", index * SECOND, "", image)
            writer.write_image("/camera/labels", index * SECOND, "", mono8(random_ids(index)))
    engine = EngineOptions(checkpoint=str(path), device="cpu")
    report = evaluate(OfflineOptions(bag=str(tmp_path / "bag"), engine=engine)).report
    labelled = sum(int((random_ids(index) != 255).sum()) for index in range(3))
    assert report.result.totals.counts.frames == 3
    assert int(report.result.totals.counts.matrix.sum()) == labelled
    assert report.provenance["checkpoint"] == "net.safetensors"
    assert len(report.provenance["checkpoint_sha256"]) == 64
    assert report.provenance["device"] == "cpu"
    assert report.provenance["input_topic"] == "/camera/image"


def test_the_networks_classes_in_another_order_are_refused(tmp_path):
    names = ("sidewalk", "road", "building", "pole", "vegetation", "sky", "person", "car")
    entries = "\n".join(f"  - {{name: {name}, ids: [{k}]}}" for k, name in enumerate(names))
    (tmp_path / "mine.yaml").write_text(f"classes:\n{entries}\n")
    given = EngineOptions(checkpoint="demo", labels=str(tmp_path / "mine.yaml"))
    with pytest.raises(
        ConfigurationError, match="class 0 is 'sidewalk', but 'road' in the network"
    ):
        build_engine(given)
    renamed = (tmp_path / "mine.yaml").read_text().replace("sidewalk", "pavement")
    (tmp_path / "mine.yaml").write_text(renamed)
    engine = build_engine(given)
    engine.close()
    assert engine.label_map.class_names[0] == "pavement"
    assert "rendered scenes only" in engine.summary


def test_the_worst_frames_have_pictures_and_a_course(tmp_path):
    write_bag(tmp_path / "bag")
    report = evaluate(options(tmp_path / "bag")).report
    assert len(report.pictures) == len(report.result.worst) == 6
    assert all(picture.shape == (48, 64, 3) for picture in report.pictures)
    mious = [frame.miou for frame in report.result.worst]
    assert mious == sorted(mious)
    assert len(report.result.timeline.miou) == 20
    # Nobody gave an image: the first panel is empty, the last has the mistakes.
    assert len(np.unique(report.pictures[0][:24, :32])) == 1
    assert len(np.unique(report.pictures[0][24:, 32:])) > 1


@pytest.mark.parametrize(("size", "batches"), [(1, [1] * 20), (3, [3] * 6 + [2]), (16, [16, 4])])
def test_batches_are_as_large_as_asked_for(tmp_path, size, batches):
    expected = write_bag(tmp_path / "bag")
    wanted = options(tmp_path / "bag")
    wanted = replace(wanted, engine=replace(wanted.engine, batch_size=size))
    engine = build_engine(wanted.engine)
    seen = []

    def score(images, ground_truths, **how):
        seen.append(len(images))
        return engine.predictor.score(images, ground_truths, **how)

    predictor = replace(engine.predictor, score=score, needs_worker=True)
    report = evaluate(wanted, engine=replace(engine, predictor=predictor)).report
    assert seen == batches, "on a CPU the worst frames are not predicted once more"
    seen.clear()
    on_gpu = replace(engine, predictor=predictor, device="cuda:0")
    again = evaluate(wanted, engine=on_gpu).report
    assert seen == batches + [1] * len(report.pictures)
    for kept, predicted in zip(report.pictures, again.pictures, strict=True):
        assert np.array_equal(kept, predicted)
    assert np.array_equal(report.result.totals.counts.matrix, expected)
