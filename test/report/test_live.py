from __future__ import annotations

import json

import numpy as np
import pytest

from deeplab_miou.accounting import Account, StreamCounts
from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord, RunSnapshot
from deeplab_miou.aggregation.results import Scoring
from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.metric.confusion import to_cells
from deeplab_miou.metric.counts import Counts
from deeplab_miou.report.live import LiveRun, save_report

EXAMPLE = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]], np.int64)
NAMES = ("road", "car", "sky")


def facts(evaluators, refused=None):
    return LiveRun(evaluators, refused or {}, Scoring(), started_s=0.0)


def counted(*sources):
    sums = Aggregate(window_frames=5)
    for source in sources:
        account = Account(StreamCounts(3, 1, 0, {"queue_full": 2}))
        state = EvaluatorState(source, 1, RunSnapshot("r", 0, Counts(EXAMPLE, 1), account), NAMES)
        sums.add_state(state, 0.0)
        cells, counts = to_cells(EXAMPLE)
        sums.add_frame(
            FrameRecord(
                source, "r", 0, 1, 7, evaluated=True, cells=cells, counts=counts, offset_ns=-3
            )
        )
    return sums.result(0.0), sums.window(0.0)


def saved(folder, sources, run):
    path = save_report(str(folder), *counted(*sources), run)
    assert path == folder / "report.json"
    return json.loads(path.read_text())


def test_one_evaluator(tmp_path):
    report = saved(tmp_path / "new", ["/e"], facts({"/e": '{"checkpoint": "c", "device": "cpu"}'}))
    assert report["miou"] == pytest.approx(4 / 9)
    assert report["frames"] == 1
    assert report["confusion"] == EXAMPLE.tolist()
    assert report["accounting"]["images"]["dropped"] == {"queue_full": 2}
    assert report["window"]["frames"] == 1
    assert report["stamp_offsets"] == {"pairs": 1, "median_s": -3e-9, "largest_s": -3e-9}
    assert (report["window"]["start_ns"], report["window"]["end_ns"]) == (7, 7)
    assert report["provenance"]["checkpoint"] == "c"
    assert report["provenance"]["sources"] == ["/e"]
    assert report["problems"] == []


def test_several_evaluators_and_what_went_wrong(tmp_path):
    texts = {"/a": '{"checkpoint": "c"}', "/b": "no JSON"}
    report = saved(tmp_path, ["/a", "/b"], facts(texts, {"malformed": 3}))
    assert report["frames"] == 2
    assert report["provenance"]["evaluators"] == {
        "/a": {"checkpoint": "c"},
        "/b": {"text": "no JSON"},
    }
    assert report["problems"] == ["3 messages of evaluators refused: malformed"]


def test_nothing_counted_leaves_an_older_report_alone(tmp_path):
    saved(tmp_path, ["/e"], facts({}))
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(DeeplabMiouError, match="nothing has been counted"):
        save_report(str(tmp_path), *counted(), facts({}))
    assert (tmp_path / "report.json").read_bytes() == before
