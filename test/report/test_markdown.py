"""``report.md`` as a Markdown library renders it shows what is in the report."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from image_files import mono8
from markdown_it import MarkdownIt
from reports import report_of

from deeplab_miou import cli
from deeplab_miou.accounting import Account, StreamCounts
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.metric.counts import Counts
from deeplab_miou.report.markdown import escape, table, to_markdown
from deeplab_miou.report.report import BagResult

SECOND = 1_000_000_000
# Each would be taken for markup somewhere: the table, HTML, links, formulas, mentions, emoji.
NAMES = (
    "a|b",
    "<b>road</b>",
    "`code` ``",
    "*star* __init__ ~~gone~~",
    "[link](http://x_y.example) www.x_y.example",
    "back\\|slash\\",
    "&lt;&#124;",
    "$x$ $$",
    "@everyone :car: :car: #12 !3",
    "<!-- <script>alert(1)</script>",
    "two\nlines\t\x1b[31m",
    " ",
)


class Cells(HTMLParser):
    """Collects the text of table cells and everything that a reader sees."""

    def __init__(self):
        super().__init__()
        self.rows, self.tags, self.text, self.pieces = [], [], "", []
        self.in_cell = False

    def handle_starttag(self, tag, _attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in {"td", "th"}

    def handle_data(self, data):
        self.text += data
        self.pieces.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data


def render(text):
    cells = Cells()
    cells.feed(
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    )
    cells.close()
    return cells


def shown(name):
    """Return a name as the tables of the terminal and the page show it."""
    line = " ".join(re.split(r"[\n\r\t]+", name))
    return "".join(each if each.isprintable() else "\ufffd" for each in line).strip()


def small_report(size=3, **changes):
    matrix = np.zeros((size, size + 1), np.int64)
    matrix[np.arange(size), np.arange(size)] = np.arange(1, size + 1)
    matrix[0, 1] = 7
    values = {
        "class_names": tuple(f"c{k}" for k in range(size)),
        "counts": Counts(matrix, frames=5),
        "account": Account(*[StreamCounts(6, 5, 0, {"queue_full": 1})] * 2),
    }
    return report_of(**(values | changes))


def test_the_whole_way_from_a_bag_to_cells_counted_by_numpy(tmp_path):
    random = np.random.default_rng(4)
    # A label map takes printable names only; live ones come from topics.
    names = [name for name in NAMES if name.strip() and "\n" not in name]
    size = len(names)
    truth, prediction = random.integers(0, size, (2, 30, 24, 32)).astype(np.uint8)
    prediction = np.where(random.random(truth.shape) < 0.6, truth, prediction).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(30):
            writer.write_image("/truth", k * SECOND, "", mono8(truth[k]))
            writer.write_image("/guess", k * SECOND, "", mono8(prediction[k]))
    rows = "".join(f"  - {{name: {json.dumps(n)}, ids: [{k}]}}\n" for k, n in enumerate(names))
    (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")
    criterion = "criteria: [{score: iou, class: 'a|b', at_least: 0.99}]\n"
    (tmp_path / "criteria.yaml").write_text(criterion)
    command = ["evaluate", tmp_path / "bag", "--prediction-topic", "/guess", "--label-topic"]
    command += ["/truth", "--labels", tmp_path / "map.yaml", "--output", tmp_path / "out"]
    command += ["--quiet", "--criteria", tmp_path / "criteria.yaml"]
    assert cli.main([str(each) for each in command]) == 5

    content = json.loads((tmp_path / "out" / "report.json").read_text())
    page = render((tmp_path / "out" / "report.md").read_text())
    iou = [
        np.sum((truth == c) & (prediction == c)) / np.sum((truth == c) | (prediction == c))
        for c in range(size)
    ]
    assert page.rows[0][:2] == ["class", "IoU"]
    assert [row[0].strip() for row in page.rows[1:]] == [shown(name) for name in names]
    assert [row[1] for row in page.rows[1:]] == [f"{each:.4f}" for each in iou]
    assert [row[5] for row in page.rows[1:]] == [f"{np.sum(truth == c):,}" for c in range(size)]
    bounds = f"[{content['miou_lower']:.4f}, {content['miou_upper']:.4f}]"
    assert f"mIoU {np.mean(iou):.4f}, 95 % interval {bounds}, 10 of 10 classes" in page.text
    assert "FAILED: iou of a|b at least 0.99" in page.text
    assert "images: 30 received = 30 evaluated" in page.text
    assert not {"b", "code", "script", "a", "em", "s", "img"} & set(page.tags)


def test_doubts_and_problems_stand_under_the_headline():
    report = small_report(
        problems=["the bag <i>ends</i> early"], other_doubts=["labels | look odd"]
    )
    page = render(to_markdown(report))
    assert "Incomplete: the bag <i>ends</i> early" in page.text
    assert "Doubtful: labels | look odd" in page.text
    assert page.text.index("Doubtful") < page.text.index("precision")
    assert "i" not in page.tags


def test_no_interval_says_why():
    assert "95 % interval" not in to_markdown(small_report())
    assert not re.search(r"\bnan\b", to_markdown(small_report()), re.IGNORECASE)


def test_bags_are_listed_the_worst_first():
    bags = [
        BagResult("good", "/g", "evaluated", 10, 0.9, 0.8, 0.95),
        BagResult("a|b", "/b", "evaluated", 10, 0.3),
        BagResult("gone", "/x", "failed", problem="no such folder"),
    ]
    page = render(to_markdown(small_report(bags=bags)))
    assert [row[:3] for row in page.rows[1:4]] == [
        ["gone", "-", ""],
        ["a|b", "0.3000", ""],
        ["good", "0.9000", "[0.8000, 0.9500]"],
    ]
    assert page.rows[1][4] == "failed"


def test_it_fits_a_comment_whatever_is_in_the_report():
    long = "x|" * 10_000
    bags = [BagResult(f"bag {k} |", "/b", "evaluated", 10, 0.5) for k in range(3000)]
    report = small_report(800, problems=[long] * 500, other_doubts=[long] * 500, bags=bags)
    text = to_markdown(report)
    assert len(text) < 65_536
    page = render(text)
    assert "480 more, all in the JSON file" in page.text
    assert "2,950 more bags" in page.text
    # Class 0 is the weakest, and classes without a mistake fill the rest.
    assert page.rows[52][0] == "c0"


def test_absent_classes_have_dashes():
    report = small_report()
    matrix = report.result.totals.counts.matrix.copy()
    matrix[2, 2] = 0
    report = small_report(counts=Counts(matrix, frames=5))
    page = render(to_markdown(report))
    assert page.rows[3] == ["c2", "-", "", "-", "-", "0"]
    assert math.isnan(report.result.scores.iou[2])


@pytest.mark.parametrize("text", ["- a", "+ a", "# a", "> a", "1. a", "12) a", "===", "---", "* a"])
def test_text_begins_no_list_heading_or_quotation(text):
    page = render(f"- {escape(text)}\n\n{escape(text)}\n")
    assert page.tags == ["ul", "li", "p"]
    assert page.text.split() == 2 * text.split()


@pytest.mark.parametrize(
    "text", ["#12", "lane #12", "owner/name#12", "GH-12", "gh-12 b", "a !3", "50%7", "@a", "$x$"]
)
def test_nothing_in_a_name_is_found_as_a_reference(text):
    """GitHub and GitLab look for them in the text between two tags, after all escaping."""
    page = render(table(("a", "b"), [(escape(text), "1")]) + f"\n\n{escape(text)}\n")
    assert page.rows[1][0].strip() == text
    assert page.text.split()[-1] == text.split()[-1]
    for piece in page.pieces:
        assert not re.search(r"(#|!|%|gh-)\d|[@$]\w", piece, re.IGNORECASE), page.pieces


@pytest.mark.parametrize("name", NAMES)
def test_a_name_fills_its_cell_and_no_other(name):
    page = render(table(("a", "b"), [(escape(name), "1")]))
    assert [page.rows[1][0].strip(), page.rows[1][1]] == [shown(name), "1"]
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "span"}
