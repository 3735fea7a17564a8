import csv
import gzip

import numpy as np
import pytest

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.report.frame_table import FrameTableWriter, read_frame_table

NAMES = ("road", 'a "b", c', "car")


def matrices(count):
    return np.random.default_rng(count).integers(0, 99, (count, 3, 4))


def write(path, count=5):
    with FrameTableWriter(path, NAMES) as table:
        for index, matrix in enumerate(matrices(count)):
            table.add(-5 + 10**18 * index, matrix)
    return matrices(count)


def test_a_table_holds_the_counts_of_every_frame(tmp_path):
    written = write(tmp_path / "t.gz")
    table = read_frame_table(tmp_path / "t.gz")
    assert table.class_names == NAMES
    assert table.stamps_ns.tolist() == [-5 + 10**18 * index for index in range(5)]
    for k, matrix in enumerate(written):
        for c in range(3):
            right, truth, predicted = matrix[c, c], matrix[c].sum(), matrix[:, c].sum()
            assert table.counts[k, :, c].tolist() == [right, predicted - right, truth - right]
            assert table.labelled[k, c] == truth
            assert table.overlaps[k, :, c].tolist() == [right, truth + predicted - right]


def test_any_csv_reader_reads_it(tmp_path):
    write(tmp_path / "t.gz")
    with gzip.open(tmp_path / "t.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[2]["tp:car"]) == matrices(5)[2, 2, 2]
    assert set(rows[0]) == {"stamp_ns", *(f"{k}:{n}" for k in ("tp", "fp", "fn") for n in NAMES)}


@pytest.mark.parametrize("count", [0, 1])
def test_few_frames(tmp_path, count):
    write(tmp_path / "t.gz", count)
    table = read_frame_table(tmp_path / "t.gz")
    assert table.counts.shape == (count, 3, 3)
    assert table.stamps_ns.shape == (count,)


def test_what_was_not_finished_leaves_the_old_table(tmp_path):
    write(tmp_path / "t.gz", 3)
    table = FrameTableWriter(tmp_path / "t.gz", NAMES)
    table.add(0, matrices(1)[0])
    table.__exit__(KeyError, KeyError(), None)
    assert len(read_frame_table(tmp_path / "t.gz").stamps_ns) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["t.gz"]


def test_a_table_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DeeplabMiouError, match=r"table of frames '.*none/t.gz' cannot be written"):
        FrameTableWriter(tmp_path / "none" / "t.gz", NAMES)


def test_a_full_disk_is_named(tmp_path):
    (tmp_path / ".t.gz.tmp").symlink_to("/dev/full")
    with pytest.raises(DeeplabMiouError, match="No space left on device"):
        write(tmp_path / "t.gz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:20] + b"\0\0\0\0" + data[24:],
        lambda _: b"not gzip",
        lambda _: gzip.compress(b""),
        lambda _: gzip.compress(b"stamp_ns,miou\r\n1,2\r\n"),
        lambda _: gzip.compress(b"stamp_ns,tp:a,fp:a,fn:a\r\n1,2,3\r\n"),
        lambda _: gzip.compress(b"stamp_ns,tp:a,fp:a,fn:a\r\n1,2,3,x\r\n"),
        lambda _: gzip.compress(b"\xff\xfe\r\n"),
    ],
)
def test_damaged_tables_are_refused_with_a_line(tmp_path, damage):
    path = tmp_path / "t.gz"
    write(path, 30)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DeeplabMiouError, match=r"t\.gz.*(is not a complete table|cannot be read)"):
        read_frame_table(path)
