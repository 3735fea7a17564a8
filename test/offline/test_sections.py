"""Sections of a bag against one reading of it, and a bag put together from parts."""

from __future__ import annotations

import gzip
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.offline.parts import divide, merge, score_section
from deeplab_miou.offline.plan import NONE, OUTSIDE, Links
from deeplab_miou.offline.sections import split_bag
from deeplab_miou.offline.stamps import Stamps
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

SECOND = 1_000_000_000


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
@pytest.mark.parametrize("seed", range(6))
def test_every_outcome_is_in_one_section_and_in_order(seed, most):
    random = np.random.default_rng(seed)
    size = 60
    recorded = np.sort(random.integers(0, 40, size))  # some at the same time
    partners = np.full(size, NONE, np.int64)
    order = random.permutation(size)[:40]
    # Partners lie anywhere in the bag, also far beyond a border.
    for a, b in order.reshape(-1, 2):
        partners[a], partners[b] = b, a
    partners[random.permutation(size)[40:44]] = OUTSIDE
    broken = np.flatnonzero(partners >= 0)
    partners[broken[partners[partners[broken]] != broken]] = NONE
    stamps = Stamps(("/a", "/b"), np.zeros(size, np.int64), recorded, recorded, recorded >= 0)

    sections = split_bag(stamps, Links(partners, np.full(size, NONE)), most)

    def outcomes(partners, names):
        """Yield what one reading finds out, in its order."""
        for number, partner in enumerate(partners.tolist()):
            if partner >= 0 and partner < number:
                yield {int(names[number]), int(names[partner])}
            elif partner < 0 and partner != OUTSIDE:
                yield {int(names[number])}

    found = []
    for section in sections:
        first, end = section.span or (-1, 1000)
        there = np.flatnonzero((recorded >= first) & (recorded < end))
        assert len(there) == len(section.links.partners)
        assert section.frames <= most
        found += outcomes(section.links.partners, there)
    assert found == list(outcomes(partners, np.arange(size)))
    pairs = sum(len(each) == 2 for each in found)
    assert sum(section.frames for section in sections) == pairs
    assert len(sections) == max(-(-pairs // most), 1)


def test_a_bag_out_of_the_order_of_time_is_one_section():
    partners = np.array([1, 0, 3, 2], np.int64)
    times = np.array([0, 5, 4, 6], np.int64)
    stamps = Stamps(("/a", "/b"), np.zeros(4, np.int64), times, times, times >= 0)
    (section,) = split_bag(stamps, Links(partners, np.full(4, NONE)), 1)
    assert section.span is None
    np.testing.assert_array_equal(section.links.partners, partners)


def write_drive(path, frames=40, *, storage="mcap"):
    """Write a drive with late labels, lone messages, repeated stamps and a bad label."""
    random = np.random.default_rng(3)
    with BagWriter(path, storage=storage) as writer:
        late = []
        for k in range(frames):
            truth = random.integers(0, 5, (24, 32))
            guess = np.where(random.random(truth.shape) < 0.2, 1, truth)
            stamp_ns = (100 + k) * SECOND // 4
            writer.write_image("/prediction", stamp_ns, "", mono8(guess))
            if k % 7 == 3:
                continue
            if k % 5 == 0:
                late.append((stamp_ns, truth))
            elif k == 11:
                writer.write_image("/labels", stamp_ns, "", mono8(truth[:10]))
            else:
                writer.write_image("/labels", stamp_ns, "", mono8(truth))
            if k == 20:
                writer.write_image("/labels", stamp_ns, "", mono8(truth))
            if len(late) == 3:
                for each in late:
                    writer.write_image("/labels", each[0], "", mono8(each[1]))
                late = []
        writer.write_image("/labels", 999 * SECOND, "", mono8(truth))


@pytest.fixture
def options(tmp_path):
    rows = "".join(f"  - {{name: class{k}, ids: [{k}]}}\n" for k in range(4))
    (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")
    engine = EngineOptions(source="topic", labels=str(tmp_path / "map.yaml"))
    return OfflineOptions(
        bag=str(tmp_path / "drive"),
        engine=engine,
        prediction_topic="/prediction",
        label_topic="/labels",
    )


def in_parts(options, engine, most, table):
    """Evaluate a bag in parts that have been to another process and back."""
    division = pickle.loads(pickle.dumps(divide(options, engine, most)))  # noqa: S301
    parts = [
        pickle.loads(pickle.dumps(score_section(options, engine, each)))  # noqa: S301
        for each in division.sections
    ]
    return len(parts), merge(options, engine, division, parts, table)


def told(evaluation, table):
    """Return all that an evaluation says, but when."""
    content = evaluation.report.to_dict()
    for key in ("started", "ended"):
        content["provenance"].pop(key)
    return json.dumps(content), evaluation.first_drops, evaluation.unknown_labels, table


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("most", [1, 4, 100])
def test_parts_make_the_report_of_the_whole(options, tmp_path, storage, most):
    write_drive(tmp_path / "drive", storage=storage)
    engine = build_engine(options.engine)
    tables = [tmp_path / "whole.csv.gz", tmp_path / "parts.csv.gz"]
    whole = evaluate(options, frame_table=tables[0], engine=engine)
    assert whole.report.result.totals.counts.frames == 32
    count, merged = in_parts(options, engine, most, tables[1])
    assert count == -(-33 // most)  # pairs, one of them of two sizes
    rows = [gzip.decompress(table.read_bytes()) for table in tables]
    assert told(merged, rows[1]) == told(whole, rows[0])
    assert len(merged.report.pictures) == len(whole.report.pictures) == 6
    np.testing.assert_array_equal(merged.report.pictures, whole.report.pictures)


@pytest.mark.parametrize("most", [1, 4])
def test_parts_carry_regions_and_kinds_of_mistakes(options, tmp_path, most):
    write_drive(tmp_path / "drive")
    (tmp_path / "regions.yaml").write_text(
        "regions:\n  - {name: top, rows: [0.0, 0.5]}\n  - {name: edges, border: 2}\n"
        "  - {name: corner, polygon: [[0, 0], [9, 0], [0, 9]], ignore: true}\n"
    )
    engine_options = replace(
        options.engine, regions=str(tmp_path / "regions.yaml"), error_types=True
    )
    options = replace(options, engine=engine_options)
    engine = build_engine(options.engine)
    whole = evaluate(options, engine=engine)
    _, merged = in_parts(options, engine, most, None)
    assert told(merged, b"") == told(whole, b"")
    assert list(merged.report.result.regions) == ["top", "edges"]
    assert merged.report.result.totals.counts.mistakes.any()
    for name, region in whole.report.result.regions.items():
        assert region.totals.counts.matrix.any()
        pictures = whole.report.region_pictures[name]
        assert len(pictures) > 0
        np.testing.assert_array_equal(merged.report.region_pictures[name], pictures)


def test_parts_know_the_tags_of_the_whole(options, tmp_path):
    write_drive(tmp_path / "drive")
    (tmp_path / "tags.csv").write_text("start,end,tag\n+0.1,+0.5,rain\n+0.7,,night\n")
    options = replace(options, tags=str(tmp_path / "tags.csv"))
    engine = build_engine(options.engine)
    whole = evaluate(options, engine=engine)
    _, merged = in_parts(options, engine, 4, None)
    assert told(merged, b"") == told(whole, b"")
    assert {tag.name for tag in whole.report.result.slices} == {"rain", "night", "no tag"}


def test_a_damaged_bag_is_one_part_that_says_so(options, tmp_path):
    write_drive(tmp_path / "drive")
    (file,) = (tmp_path / "drive").glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    engine = build_engine(options.engine)
    whole = evaluate(options, engine=engine)
    assert whole.damaged
    count, merged = in_parts(options, engine, 2, None)
    assert count == 1
    assert told(merged, b"") == told(whole, b"")


@pytest.mark.parametrize("kind", [BagError, ConfigurationError])
def test_errors_travel(kind):
    error = pickle.loads(pickle.dumps(kind("line\nbreak")))  # noqa: S301
    assert type(error) is kind
    assert str(error) == str(kind("line\nbreak"))
