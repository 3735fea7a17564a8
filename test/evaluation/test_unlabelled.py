import numpy as np
from image_files import mono8

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.outcomes import Arrival, FrameOutcome
from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.evaluation.unlabelled import Unlabelled
from deeplab_miou.images.messages import RawImage
from deeplab_miou.labels.label_map import load_label_map


def outcome(stamp_ns, image):
    arrival = Arrival(stamp_ns, "camera", image, 0.0, 0)
    return FrameOutcome(arrival, None, Reason.UNMATCHED_IMAGE, "", None)


def test_images_are_predicted_at_their_size_the_newest_if_there_are_too_many():
    label_map = load_label_map("cityscapes_train_ids")
    told, failed = [], []
    unlabelled = Unlabelled(
        topic_predictor(label_map),
        label_map.ignore_index,
        on_prediction=told.append,
        on_failure=failed.append,
    )
    ids = np.random.default_rng(1).integers(0, 19, (20, 6, 8)).astype(np.uint8)
    unlabelled.work()
    for k in range(20):
        unlabelled.offer(outcome(k, mono8(ids[k])))
    assert len(unlabelled) == 8
    for _ in range(10):
        unlabelled.work()
    assert [each.image.stamp_ns for each in told] == list(range(12, 20))
    for each in told:
        assert np.array_equal(each.prediction, ids[each.image.stamp_ns])
    bad = RawImage(6, 8, "rgb8", is_bigendian=False, step=24, data=bytes(144))
    unlabelled.offer(outcome(99, bad))
    unlabelled.work()
    assert isinstance(failed[0], FrameError)
    assert len(told) == 8
