"""Pairs wait for what names their ids, bounded, and none is lost for want of room afterwards."""

from __future__ import annotations

import numpy as np
from image_files import mono8

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.labels.legend import Legend
from deeplab_miou.labels.messages import LabelNames

MAP = LabelMap.from_dict({"name": "two", "classes": [{"name": "road"}, {"name": "car"}]}, "two")
NAMES = ((5, ("car",)), (6, ("road",)))
SECOND = 10**9


def pipeline_of(legend):
    return Pipeline(topic_predictor(MAP), MAP, legends=Legends(labels=legend))


def add(pipeline, count):
    for k in range(count):
        for stream, ids in ((Stream.IMAGE, [[0, 1]]), (Stream.LABEL, [[6, 5]])):
            pipeline.add(stream, (k + 1) * SECOND, "", mono8(np.array(ids)))


def work_off(pipeline):
    while len(pipeline.queue):
        pipeline.work(0.0)
    return pipeline.run.snapshot()


def test_what_waited_for_names_goes_on_as_there_is_room():
    legend = Legend(MAP, "/names")
    pipeline = pipeline_of(legend)
    add(pipeline, 40)  # the queue holds 8
    assert work_off(pipeline).counts.frames == 0
    legend.add(LabelNames(NAMES, 0), 0)
    pipeline.release_named()
    state = work_off(pipeline)
    assert (state.counts.frames, state.account.images.waiting) == (40, 0)
    assert state.counts.matrix.tolist() == [[40, 0, 0], [0, 40, 0]]


def test_without_names_no_more_wait_than_there_is_room_for():
    pipeline = pipeline_of(Legend(MAP, "/names"))
    add(pipeline, 70)
    state = work_off(pipeline)
    assert (state.account.labels.waiting, state.account.labels.received) == (64, 70)
    assert dict(state.account.labels.dropped) == {"no_label_info": 6}


def test_a_flush_ends_the_waiting():
    pipeline = pipeline_of(Legend(MAP, "/names"))
    add(pipeline, 20)
    pipeline.flush()
    state = work_off(pipeline)
    assert dict(state.account.labels.dropped) == {"no_label_info": 20}
    assert state.account.images.waiting == 0


def test_a_frame_waits_for_the_names_that_come_with_it():
    legend = Legend(MAP, "/names")
    pipeline = pipeline_of(legend)
    legend.add(LabelNames(NAMES, SECOND, is_of_frame=True), 0)
    add(pipeline, 2)
    assert work_off(pipeline).counts.frames == 1
    legend.add(LabelNames(((5, ("road",)), (6, ("car",))), 2 * SECOND, is_of_frame=True), 0)
    pipeline.release_named()
    assert work_off(pipeline).counts.matrix.tolist() == [[1, 1, 0], [1, 1, 0]]


def test_a_reset_forgets_what_waits():
    legend = Legend(MAP, "/names")
    pipeline = pipeline_of(legend)
    add(pipeline, 5)
    pipeline.reset()
    legend.add(LabelNames(NAMES, 0), 0)
    pipeline.release_named()
    state = work_off(pipeline)
    assert (state.counts.frames, state.account.images.received) == (0, 0)


def test_names_after_a_jump_back_replace_those_of_later_times():
    legend = Legend(MAP, "/names")
    swapped = ((5, ("road",)), (6, ("car",)))
    legend.add(LabelNames(NAMES, 10 * SECOND, is_of_frame=True), 0)
    legend.add(LabelNames(swapped, 20 * SECOND, is_of_frame=True), 0)
    assert legend.at(30 * SECOND).classes[0].ids == (5,)
    legend.add(LabelNames(NAMES, 5 * SECOND, is_of_frame=True), 0)
    assert legend.at(30 * SECOND).classes[0].ids == (6,)
