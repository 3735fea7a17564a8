"""Many bags through the command: counted by NumPy, interrupted, with poison among them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import network_drives
import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline import many_bags
from deeplab_miou.text import printable

SECOND = 1_000_000_000
NAMES = ("road", "car", "pole")
FRAMES = 12


def write_drive(path, seed, frames=FRAMES):
    """Write a drive whose stamps begin at 0, as those of all others; return its counts."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, (frames, 24, 32)).astype(np.uint8)
    truth[truth == 3] = 255
    wrong = random.random(truth.shape) < random.uniform(0.1, 0.4)
    prediction = np.where(wrong, random.integers(0, 4, truth.shape), truth).astype(np.uint8)
    with BagWriter(path) as writer:
        for k in range(frames):
            writer.write_image("/prediction", k * SECOND, "", mono8(prediction[k]))
            writer.write_image("/labels", k * SECOND, "", mono8(truth[k]))
    scored = truth != 255
    column = np.minimum(prediction[scored], 3)
    matrix = np.zeros((3, 4), np.int64)
    np.add.at(matrix, (truth[scored], column), 1)
    return matrix


@pytest.fixture
def drives(tmp_path):
    """Three drives and their label map; returns the folder and the counts by name."""
    folder = tmp_path / "drives"
    folder.mkdir()
    counts = {name: write_drive(folder / name, k) for k, name in enumerate(("a", "b", "c"))}
    write_map(tmp_path / "map.yaml")
    return folder, counts


def write_map(path, names=NAMES):
    rows = "".join(f"  - {{name: {name}, ids: [{k}]}}\n" for k, name in enumerate(names))
    path.write_text(f"classes:\n{rows}")


def arguments(folder, bags, *options):
    return [
        "evaluate",
        *map(str, bags),
        *("--prediction-topic", "/prediction", "--label-topic", "/labels"),
        *("--labels", str(folder / "map.yaml"), "--output", str(folder / "out")),
        *options,
    ]


def read(folder):
    return json.loads((folder / "report.json").read_text())


def iou_of(matrix):
    right = np.diagonal(matrix)
    return right / (matrix.sum(axis=1) + matrix[:, :3].sum(axis=0) - right)


def written(folder):
    """Return when each bag's report was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("bags/*/report.json")}


@pytest.mark.parametrize("way", ["one by one", "folder", "pattern"])
def test_scores_are_those_of_counts_by_numpy(drives, tmp_path, way, capsys):
    folder, counts = drives
    bags = {
        "one by one": [folder / name for name in counts],
        "folder": [folder],
        "pattern": [folder / "*"],
    }[way]
    assert cli.main(arguments(tmp_path, bags)) == exit_codes.OK
    total = read(tmp_path / "out")
    matrix = sum(counts.values())
    assert total["confusion"] == matrix.tolist()
    assert total["miou"] == pytest.approx(iou_of(matrix).mean())
    assert total["frames"] == 3 * FRAMES
    assert total["accounting"]["labels"]["evaluated"] == 3 * FRAMES
    assert [each["name"] for each in total["bags"]] == ["a", "b", "c"]
    for each in total["bags"]:
        assert each["status"] == "evaluated"
        assert each["miou"] == pytest.approx(iou_of(counts[each["name"]]).mean())
        own = read(tmp_path / "out" / "bags" / each["name"])
        assert own["confusion"] == counts[each["name"]].tolist()
        assert own["bags"] == []
        assert (tmp_path / "out" / "bags" / each["name"] / "report.html").is_file()
    # Blocks of a second, all of which lie in one drive, though the stamps are the same in all.
    assert total["intervals"]["resampled"] == "blocks of time"
    assert total["intervals"]["blocks"] >= 8
    assert total["miou_lower"] < total["miou"] < total["miou_upper"]
    shown = capsys.readouterr()
    assert "bags: 3 = 3 evaluated" in shown.out
    assert "[3/3] c: mIoU" in shown.err
    assert 'href="bags/b/report.html"' in (tmp_path / "out" / "report.html").read_text()


def test_sixteen_drives_are_resampled_as_wholes(tmp_path, capsys):
    write_map(tmp_path / "map.yaml")
    folder = tmp_path / "drives"
    counts = [write_drive(folder / f"d{k}", k, frames=2 + k % 3) for k in range(16)]
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    found = read(tmp_path / "out")
    assert found["intervals"]["resampled"] == "drives"
    assert found["intervals"]["blocks"] == 16
    assert "(95 % by resampling 16 drives)" in capsys.readouterr().out
    # An interval by NumPy, with whole drives drawn.
    random = np.random.default_rng(5)
    means = [iou_of(sum(counts[k] for k in random.integers(0, 16, 16))).mean() for _ in range(2000)]
    lower, upper = np.quantile(means, [0.025, 0.975])
    assert 0.9 < (found["miou_upper"] - found["miou_lower"]) / (upper - lower) < 1.4
    assert [each["name"] for each in found["bags"]] == [f"d{k}" for k in range(16)]


def write_half(path, seed):
    """Write a drive that is worse in the upper half; returns counts of the whole and that half."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, (3, 24, 32)).astype(np.uint8)
    upper = np.arange(24)[:, np.newaxis] < 12
    wrong = random.random(truth.shape) < random.uniform(0.05, 0.15) + 0.3 * upper
    prediction = np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)
    with BagWriter(path) as writer:
        for k in range(3):
            writer.write_image("/prediction", k * SECOND, "", mono8(prediction[k]))
            writer.write_image("/labels", k * SECOND, "", mono8(truth[k]))
    matrices = np.zeros((2, 3, 4), np.int64)
    np.add.at(matrices[0], (truth, prediction), 1)
    np.add.at(matrices[1], (truth[:, :12], prediction[:, :12]), 1)
    return matrices


@pytest.mark.parametrize("number", [15, 16])
def test_intervals_of_regions_resample_sixteen_drives_as_wholes(tmp_path, number):
    write_map(tmp_path / "map.yaml")
    (tmp_path / "regions.yaml").write_text(
        "regions:\n  - {name: upper, rows: [0, 12]}\n  - {name: nowhere, objects: large}\n"
    )
    folder = tmp_path / "drives"
    counts = [write_half(folder / f"d{k}", k) for k in range(number)]
    options = ("--regions", str(tmp_path / "regions.yaml"))
    assert cli.main(arguments(tmp_path, [folder], *options)) == exit_codes.OK
    upper, nowhere = read(tmp_path / "out")["regions"]
    total = sum(counts)
    assert upper["confusion"] == total[1].tolist()
    assert nowhere["intervals"]["reason"].endswith("pixels in it, but there are 0")
    assert nowhere["contrast"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    if number < 16:
        assert upper["miou_lower"] is None
        assert upper["intervals"]["reason"].endswith("pixels in it, but there are 15")
        assert upper["contrast"] is None
        assert "in upper than elsewhere" not in page
        return
    assert (upper["intervals"]["resampled"], upper["intervals"]["blocks"]) == ("drives", 16)
    # By NumPy, with whole drives drawn: of the region, and of what it differs by from the rest.
    random = np.random.default_rng(5)
    drawn = [sum(counts[k] for k in random.integers(0, 16, 16)) for _ in range(2000)]
    mious = [iou_of(inside).mean() for _, inside in drawn]
    lower, upper_bound = np.quantile(mious, [0.025, 0.975])
    assert 0.9 < (upper["miou_upper"] - upper["miou_lower"]) / (upper_bound - lower) < 1.4
    differences = [iou_of(inside).mean() - iou_of(whole - inside).mean() for whole, inside in drawn]
    lower, upper_bound = np.quantile(differences, [0.025, 0.975])
    found = upper["contrast"]
    width = found["upper"][0] - found["lower"][0]
    assert 0.9 < width / (upper_bound - lower) < 1.4
    assert found["upper"][0] < 0
    assert "worse in upper than elsewhere" in page


def test_one_bag_is_as_ever(drives, tmp_path):
    folder, counts = drives
    assert cli.main(arguments(tmp_path, [folder / "a"])) == exit_codes.OK
    assert read(tmp_path / "out")["confusion"] == counts["a"].tolist()
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "frames.csv.gz",
        "report.html",
        "report.json",
        "report.md",
    ]


def test_poison_is_told_and_stops_nothing(drives, tmp_path, capsys):
    folder, counts = drives
    (folder / "a1.mcap").write_bytes(b"poison")
    whole = next((folder / "b").glob("*.mcap"))
    (folder / "b1.mcap").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    write_drive(folder / "b2", 9)
    (folder / "b3").mkdir()
    (folder / "b3" / "metadata.yaml").write_text("nothing: here")
    bags = [folder / name for name in ("a", "a1.mcap", "b", "b1.mcap", "b3", "nowhere", "c")]
    assert cli.main(arguments(tmp_path, bags)) == exit_codes.DAMAGED_BAG == 3
    found = read(tmp_path / "out")
    by_name = {each["name"]: each for each in found["bags"]}
    assert list(by_name) == ["a", "a1", "b", "b1", "b3", "nowhere", "c"]
    assert {name: each["status"] for name, each in by_name.items()} == {
        **dict.fromkeys(("a", "b", "c"), "evaluated"),
        **dict.fromkeys(("a1", "b3", "nowhere"), "failed"),
        "b1": "damaged",
    }
    half = read(tmp_path / "out" / "bags" / "b1")
    assert 0 < half["frames"] < FRAMES
    assert found["confusion"] == (sum(counts.values()) + half["confusion"]).tolist()
    assert found["damaged"]
    assert len(found["problems"]) == 4
    said = capsys.readouterr().err
    for name in ("a1", "b1", "b3", "nowhere"):
        assert f"deeplab-miou: {name}: " in said
    assert "[7/7] c: mIoU" in said
    # Again: what was finished stays, damaged or not, and it is told again.
    before = written(tmp_path / "out")
    assert cli.main(arguments(tmp_path, bags)) == exit_codes.DAMAGED_BAG
    assert written(tmp_path / "out") == before
    assert read(tmp_path / "out")["confusion"] == found["confusion"]
    assert read(tmp_path / "out")["problems"] == found["problems"]


def test_renamed_files_are_the_same_ones(tmp_path):
    """A candidate that ships is copied to another name; nothing is scored again for that."""
    network = network_drives.balanced(network_drives.Network())
    network_drives.write_drive(tmp_path, network)
    network_drives.script(network, tmp_path / "candidate.pt")
    classes = (tmp_path / "map.yaml").read_text().replace("name: test\n", "")
    for name in ("map.yaml", "classes.yaml"):
        (tmp_path / name).write_text(classes)

    def evaluated(checkpoint, labels):
        words = ["evaluate", str(tmp_path / "bag*"), "--output", str(tmp_path / "out"), "--quiet"]
        files = ["--checkpoint", str(tmp_path / checkpoint), "--labels", str(tmp_path / labels)]
        assert cli.main([*words, *files]) == exit_codes.OK
        facts = read(tmp_path / "out")["provenance"]
        assert (facts["checkpoint"], facts["label_map"]) == (checkpoint, labels[:-5])
        return written(tmp_path / "out")

    before = evaluated("candidate.pt", "map.yaml")
    (tmp_path / "candidate.pt").rename(tmp_path / "released.pt")
    assert evaluated("released.pt", "classes.yaml") == before
    network_drives.script(network_drives.Network().eval(), tmp_path / "released.pt")
    assert evaluated("released.pt", "classes.yaml") != before


def test_a_drive_of_which_no_frame_is_scored_stops_nothing(drives, tmp_path, capsys):
    """Its labels have other stamps than its images, or it is damaged all over."""
    folder, counts = drives
    with BagWriter(folder / "b1") as writer:
        for k in range(FRAMES):
            ids = mono8(np.zeros((24, 32), np.uint8))
            writer.write_image("/prediction", 2 * k * SECOND, "", ids)
            writer.write_image("/labels", (2 * k + 1) * SECOND, "", ids)
    junit = tmp_path / "junit.xml"
    options = ("--junit", str(junit))
    assert cli.main(arguments(tmp_path, [folder], *options)) == exit_codes.OK
    assert list(judged(junit).values()) == ["passed", "passed", "skipped", "passed"]
    found = read(tmp_path / "out")
    assert found["confusion"] == sum(counts.values()).tolist()
    assert [each["status"] for each in found["bags"]] == [
        *("evaluated", "evaluated", "nothing evaluated", "evaluated"),
    ]
    assert "bags: 4 = 3 evaluated + 1 nothing evaluated" in capsys.readouterr().out
    assert read(tmp_path / "out" / "bags" / "b1")["frames"] == 0
    alone = arguments(tmp_path, [folder / "b1"], *options)
    assert cli.main(alone) == exit_codes.NOTHING_EVALUATED
    assert judged(junit) == {"b1": "skipped"}


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, exit_codes.INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_run_goes_on_where_it_was(drives, tmp_path, sent, code):
    """Stopped when the first bag's report is there and the second has begun."""
    folder, _ = drives
    os.mkfifo(tmp_path / "fifo")
    script = (
        "import sys\n"
        "from deeplab_miou import cli\n"
        "from deeplab_miou.offline import many_bags\n"
        "evaluate = many_bags.evaluate\n"
        "def held_up(options, *others):\n"
        "    if options.bag.endswith('/b'):\n"
        "        print('at b', flush=True)\n"
        f"        open({str(tmp_path / 'fifo')!r}).read()\n"
        "    return evaluate(options, *others)\n"
        "many_bags.evaluate = held_up\n"
        "sys.exit(cli.main())"
    )
    command = [sys.executable, "-c", script, *arguments(tmp_path, [folder], "--quiet")]
    source = str(Path(many_bags.__file__).parents[2])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source}
    ) as process:
        timer = threading.Timer(120, process.kill)
        timer.start()
        assert process.stdout.readline() == b"at b\n"
        process.send_signal(sent)
        assert process.wait() == code
        timer.cancel()
    first = written(tmp_path / "out")
    assert list(first) == ["a"]
    assert not (tmp_path / "out" / "report.json").exists()
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    assert written(tmp_path / "out")["a"] == first["a"]
    resumed = read(tmp_path / "out")
    whole = tmp_path / "whole"
    at_once = arguments(tmp_path, [folder], "--output", str(whole))
    assert cli.main(at_once) == exit_codes.OK
    straight = read(whole)
    for report in (resumed, straight):
        del report["provenance"]["started"], report["provenance"]["ended"]
    assert resumed == straight


def test_two_runs_never_write_to_one_folder(drives, tmp_path, capsys):
    folder, _ = drives
    script = (
        "import sys\n"
        "from deeplab_miou import cli\n"
        "from deeplab_miou.offline import many_bags\n"
        "evaluate = many_bags.evaluate\n"
        "def held_up(*others):\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.read()\n"
        "    return evaluate(*others)\n"
        "many_bags.evaluate = held_up\n"
        "sys.exit(cli.main())"
    )
    command = [sys.executable, "-c", script, *arguments(tmp_path, [folder], "--quiet")]
    source = str(Path(many_bags.__file__).parents[2])
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        assert cli.main(arguments(tmp_path, [folder], "--duration", "4")) == exit_codes.WRONG
        said = capsys.readouterr().err
        assert said == (
            f"deeplab-miou: another run is writing to '{tmp_path / 'out'}': wait until it ends, or "
            "give another folder\n"
        )
        process.communicate(timeout=120)
        assert process.returncode == exit_codes.OK
    assert read(tmp_path / "out")["frames"] == 3 * FRAMES
    assert cli.main(arguments(tmp_path, [folder], "--duration", "4")) == exit_codes.OK


def test_other_options_never_mix_in(drives, tmp_path):
    folder, counts = drives
    assert cli.main(arguments(tmp_path, [folder], "--duration", "4")) == exit_codes.OK
    assert read(tmp_path / "out")["frames"] == 12
    before = written(tmp_path / "out")
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    after = written(tmp_path / "out")
    assert all(after[name] > before[name] for name in before)
    assert read(tmp_path / "out")["confusion"] == sum(counts.values()).tolist()
    # A label map of the same name with other content.
    write_map(tmp_path / "map.yaml", ("road", "pole", "car"))
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    assert [each["name"] for each in read(tmp_path / "out")["classes"]] == ["road", "pole", "car"]
    again = written(tmp_path / "out")
    assert all(again[name] > after[name] for name in after)
    # Nothing changed; then one bag did.
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    assert written(tmp_path / "out") == again
    shutil.rmtree(folder / "b")
    matrix = write_drive(folder / "b", 77, frames=5)
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    last = written(tmp_path / "out")
    assert [name for name in last if last[name] != again[name]] == ["b"]
    expected = counts["a"] + matrix + counts["c"]
    assert read(tmp_path / "out")["confusion"] == expected.tolist()


@pytest.mark.parametrize("name", ["report.json", "report.html", "report.md", "frames.csv.gz"])
def test_a_bag_whose_files_do_not_belong_together_is_done_again(drives, tmp_path, name):
    folder, counts = drives
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    files = [tmp_path / "out" / "bags" / bag / name for bag in ("a", "b", "c")]
    files[0].write_bytes(files[1].read_bytes())
    files[1].write_bytes(files[1].read_bytes()[:100])
    files[2].unlink()
    assert cli.main(arguments(tmp_path, [folder])) == exit_codes.OK
    assert read(tmp_path / "out")["confusion"] == sum(counts.values()).tolist()
    for bag, matrix in counts.items():
        assert read(tmp_path / "out" / "bags" / bag)["confusion"] == matrix.tolist()


def test_mistakes_are_lines(drives, tmp_path, capsys):
    folder, _ = drives
    command = arguments(tmp_path, [folder])
    place = command.index("--output")
    assert cli.main(command[:place] + command[place + 2 :]) == exit_codes.USAGE
    assert "several bags need --output DIR" in capsys.readouterr().err
    assert cli.main(arguments(tmp_path, [folder / "x*"])) == exit_codes.WRONG
    assert "no bag matches" in capsys.readouterr().err
    assert cli.main(arguments(tmp_path, [folder], "--class-weights", "1,2")) == exit_codes.WRONG
    assert "class_weights" in capsys.readouterr().err


def judged(path):
    """Return each test case of a JUnit file and what became of it."""
    suite = ET.parse(path).getroot().find("testsuite")  # noqa: S314  our own file
    cases = {
        case.get("name"): next((child.tag for child in case), "passed")
        for case in suite.iter("testcase")
    }
    counts = Counter(cases.values())
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(attribute)) == counts[tag]
    assert int(suite.get("tests")) == len(cases)
    return cases


def test_criteria_decide_the_exit_code_of_one_bag(drives, tmp_path, capsys):
    folder, counts = drives
    iou = iou_of(counts["a"])
    file, junit = tmp_path / "criteria.yaml", tmp_path / "ci" / "junit.xml"
    options = ("--criteria", str(file), "--junit", str(junit))
    for shift, code in ((-1e-6, exit_codes.OK), (1e-6, exit_codes.NOT_GOOD_ENOUGH)):
        file.write_text(
            "criteria:\n"
            f"  - {{score: miou, at_least: {iou.mean() + shift:.9f}}}\n"
            f"  - {{score: iou, class: pole, at_least: {iou[2] - 1e-6:.9f}}}\n"
            "  - {score: difference, at_least: 0}\n"
        )
        assert cli.main(arguments(tmp_path, [folder / "a"], *options)) == code
        found = read(tmp_path / "out")["criteria"]
        assert [each["passed"] for each in found] == [shift < 0, True, None]
        assert found[0]["value"] == pytest.approx(iou.mean())
        cases = judged(junit)
        outcome = "passed" if shift < 0 else "failure"
        assert list(cases.values()) == [outcome, "passed", "skipped", "passed"]
        assert list(cases)[-1] == "a"
        assert ("FAILED" in (tmp_path / "out" / "report.html").read_text()) == (shift > 0)
        shown = capsys.readouterr()
        assert ("FAILED miou at least" in shown.out) == (shift > 0)
        assert ("deeplab-miou: not good enough: miou at least" in shown.err) == (shift > 0)


def test_a_damaged_bag_is_an_error_for_ci_alone_as_among_others(drives, tmp_path):
    folder, _ = drives
    storage = next((folder / "a").glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    junit = tmp_path / "junit.xml"
    for bags in ([folder / "a"], [folder]):
        options = ("--junit", str(junit), "--quiet")
        assert cli.main(arguments(tmp_path, bags, *options)) == exit_codes.DAMAGED_BAG
        assert judged(junit)["a"] == "error"


@pytest.mark.parametrize("cause", ["criteria", "checkpoint", "folder"])
def test_a_run_that_stops_leaves_no_outcome_of_an_earlier_one(drives, tmp_path, cause, capsys):
    folder, _ = drives
    junit = tmp_path / "junit.xml"
    command = arguments(tmp_path, [folder], "--junit", str(junit), "--quiet")
    assert cli.main(command) == exit_codes.OK
    assert list(judged(junit)) == ["a", "b", "c"]
    if cause == "criteria":
        (tmp_path / "criteria.yaml").write_text("criteria: [{score: miuo, at_least: 0}]")
        command += ["--criteria", str(tmp_path / "criteria.yaml")]
    elif cause == "checkpoint":
        command[command.index("--prediction-topic")] = "--checkpoint"
    else:
        junit.unlink()
        junit.mkdir()
    assert cli.main(command) == exit_codes.WRONG
    assert not junit.is_file()
    if cause == "folder":
        assert f"JUnit file '{junit}' cannot be replaced" in capsys.readouterr().err


def test_criteria_of_many_bags_are_about_all_of_them(drives, tmp_path):
    folder, counts = drives
    (folder / "poison.mcap").write_bytes(b"poison")
    miou = iou_of(sum(counts.values())).mean()
    file, junit = tmp_path / "criteria.yaml", tmp_path / "junit.xml"
    file.write_text(f"criteria: [{{score: miou, at_least: {miou - 1e-6:.9f}}}]")
    options = ("--criteria", str(file), "--junit", str(junit), "--quiet")
    assert cli.main(arguments(tmp_path, [folder / "*"], *options)) == exit_codes.DAMAGED_BAG
    assert list(judged(junit).values()) == ["passed", "passed", "passed", "passed", "error"]
    (folder / "poison.mcap").unlink()
    file.write_text(
        "criteria: [{score: labels_evaluated, at_least: 1}, {score: frames, at_most: 3}]"
    )
    assert cli.main(arguments(tmp_path, [folder / "*"], *options)) == exit_codes.NOT_GOOD_ENOUGH
    assert list(judged(junit).values()) == ["passed", "failure", "passed", "passed", "passed"]
    # Criteria are no part of what decides a score: nothing is evaluated again for them.
    before = written(tmp_path / "out")
    file.write_text("criteria: [{score: iou, class: rode, at_least: 0.5}]")
    assert cli.main(arguments(tmp_path, [folder / "*"], *options)) == exit_codes.WRONG
    file.write_text("criteria: [{score: iou, class: road, at_least: 0.1}]")
    assert cli.main(arguments(tmp_path, [folder / "*"], *options)) == exit_codes.OK
    assert written(tmp_path / "out") == before


def test_one_network_scores_all_bags_as_it_does_each(tmp_path, monkeypatch):
    network = network_drives.balanced(network_drives.Network())
    network_drives.script(network, tmp_path / "network.pt")
    folders = [tmp_path / name for name in ("x", "y")]
    for folder in folders:
        folder.mkdir()
        counts = network_drives.write_drive(folder, network)
    built = []

    def build(options):
        built.append(options)
        return build_engine(options)

    monkeypatch.setattr(many_bags, "build_engine", build)
    words = [*("--checkpoint", tmp_path / "network.pt"), *("--labels", folders[0] / "map.yaml")]
    words += ["--device", "cpu", "--quiet", "--output", tmp_path / "out"]
    assert cli.main(["evaluate", *map(str, [*folders, *words])]) == exit_codes.OK
    assert len(built) == 1
    assert read(tmp_path / "out")["confusion"] == (2 * counts).tolist()
    for name in ("x", "y"):
        own = read(tmp_path / "out" / "bags" / f"{name}_bag")
        assert own["confusion"] == counts.tolist()
        assert len(own["worst_frames"]) > 0


@pytest.mark.parametrize(
    "name", ["a\x01b", "line\nbreak", "x\udc80y", "<&\"'>", "%41 #?", "éà 道路", "-dash", "[bold]"]
)
def test_names_of_bags_are_shown_as_they_are_in_every_file(tmp_path, name, capsys):
    """JUnit files with control characters or half surrogates are refused by those who read them."""
    write_map(tmp_path / "map.yaml")
    matrix = write_drive(tmp_path / "drives" / "good", 1, frames=2)
    (tmp_path / "drives" / "good").rename(tmp_path / "drives" / name)
    (tmp_path / "drives" / f"{name}z").mkdir()
    (tmp_path / "drives" / f"{name}z" / "metadata.yaml").touch()
    junit = tmp_path / "junit.xml"
    options = ("--junit", str(junit))
    assert cli.main(arguments(tmp_path, [tmp_path / "drives"], *options)) == exit_codes.DAMAGED_BAG
    assert list(judged(junit).values()) == ["passed", "error"]
    assert list(judged(junit)) == [printable(name), printable(f"{name}z")]
    found = read(tmp_path / "out")
    assert [each["name"] for each in found["bags"]] == [name, f"{name}z"]
    assert found["confusion"] == matrix.tolist()
    (target,) = re.findall(r'href="([^"]*)"', (tmp_path / "out" / "report.html").read_text())
    assert (tmp_path / "out" / unquote(target, errors="surrogateescape")).is_file()
    assert f"[1/2] {printable(name)}: mIoU" in capsys.readouterr().err
