"""The whole way: two networks' predictions in a bag, evaluated, compared, counted by NumPy."""

import base64
import json
import re
import shutil
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter

SECOND = 1_000_000_000
NAMES = ("road", "car", "pole")
EVIL = "| <b>pole</b> `x`"


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """A drive of 40 s at 2 Hz, predicted by an old network and one that errs half as often.

    Returns the folder, and the ground truth and predictions by name, (80, 24, 32).
    """
    folder = tmp_path_factory.mktemp("drive")
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, (80, 24, 32)).astype(np.uint8)
    maps = {"truth": truth}
    for name, share in (("old", 0.2), ("new", 0.1)):
        wrong = random.random(truth.shape) < share * random.uniform(0.5, 1.5, (80, 1, 1))
        maps[name] = np.where(wrong, (truth + random.integers(1, 3, truth.shape)) % 3, truth)
        maps[name] = maps[name].astype(np.uint8)
    with BagWriter(folder / "bag") as writer:
        for k in range(80):
            for name, ids in maps.items():
                writer.write_image(f"/{name}", (100 * SECOND) + k * SECOND // 2, "", mono8(ids[k]))
    rows = "".join(f"  - {{name: {json.dumps(n)}, ids: [{k}]}}\n" for k, n in enumerate(NAMES))
    (folder / "map.yaml").write_text(f"classes:\n{rows}")
    for name in ("old", "new"):
        assert evaluate(folder, name, folder / name) == exit_codes.OK
    return folder, maps


def evaluate(folder, name, output, *options):
    return cli.main(
        [
            "evaluate",
            str(folder / "bag"),
            "--prediction-topic",
            f"/{name}",
            "--label-topic",
            "/truth",
            "--labels",
            str(folder / "map.yaml"),
            "--output",
            str(output),
            "--quiet",
            *options,
        ]
    )


def iou_of(truth, prediction):
    return np.array(
        [
            np.sum((truth == c) & (prediction == c)) / np.sum((truth == c) | (prediction == c))
            for c in range(3)
        ]
    )


def compare(*arguments):
    return cli.main(["compare", *map(str, arguments)])


def test_the_difference_is_that_of_counts_by_numpy(drive, tmp_path):
    folder, maps = drive
    assert compare(folder / "old", folder / "new", "--output", tmp_path) == exit_codes.OK
    found = json.loads((tmp_path / "compare.json").read_text())
    old, new = (iou_of(maps["truth"], maps[name]) for name in ("old", "new"))
    assert found["frames"] == 80
    assert found["miou_a"] == pytest.approx(old.mean())
    assert found["miou_b"] == pytest.approx(new.mean())
    assert found["difference"] == pytest.approx((new - old).mean())
    assert found["lower"] < found["difference"] < found["upper"]
    assert found["anytime_lower"] < found["lower"]
    assert found["upper"] < found["anytime_upper"]
    assert found["verdict"] == "better"
    assert [each["name"] for each in found["classes"]] == list(NAMES)
    assert [each["difference"] for each in found["classes"]] == pytest.approx((new - old).tolist())
    assert found["cautions"] == []
    # Bounds that know nothing of blocks: single frames resampled, which here are independent.
    random = np.random.default_rng(1)
    frames = np.array(
        [
            [
                [[np.sum((t == c) & (p == c)), np.sum((t == c) | (p == c))] for c in range(3)]
                for t, p in zip(maps["truth"], maps[name], strict=True)
            ]
            for name in ("old", "new")
        ]
    )
    totals = [frames[:, random.integers(0, 80, 80)].sum(axis=1) for _ in range(500)]
    means = [np.diff((total[..., 0] / total[..., 1]).mean(axis=1))[0] for total in totals]
    lower, upper = np.quantile(means, [0.025, 0.975])
    assert 0.8 < (found["upper"] - found["lower"]) / (upper - lower) < 2


def test_gates_give_exit_codes(drive, capsys):
    folder, _ = drive
    old, new = folder / "old", folder / "new"
    assert compare(old, new, "--fail-if-worse") == exit_codes.OK
    assert compare(new, old, "--fail-if-worse") == exit_codes.NOT_GOOD_ENOUGH == 5
    shown = capsys.readouterr()
    assert "B is worse than A on 80 common frames." in shown.out
    assert "not good enough: B is shown to be worse than A by more than 0" in shown.err
    assert compare(new, old, "--fail-if-worse", "0.5") == exit_codes.OK
    assert compare(old, old, "--fail-unless-not-worse", "0.001") == exit_codes.OK
    assert compare(new, old, "--fail-unless-not-worse", "0.001") == exit_codes.NOT_GOOD_ENOUGH


def test_gates_are_test_cases_for_ci(drive, tmp_path):
    folder, _ = drive
    old, new, junit = folder / "old", folder / "new", tmp_path / "junit.xml"
    for runs, options, cases in (
        ((old, new), ("--fail-if-worse",), {"--fail-if-worse 0": "passed"}),
        ((new, old), ("--fail-if-worse", "0.001"), {"--fail-if-worse 0.001": "failure"}),
        (
            (new, old),
            ("--fail-unless-not-worse", "0.01"),
            {"--fail-unless-not-worse 0.01": "failure"},
        ),
        ((new, old), (), {}),
    ):
        failed = "failure" in cases.values()
        code = exit_codes.NOT_GOOD_ENOUGH if failed else exit_codes.OK
        assert compare(*runs, *options, "--junit", junit) == code
        assert judged(junit) == cases
    assert compare(old, folder / "bag", "--junit", junit) == exit_codes.WRONG
    assert not junit.exists()


def judged(path):
    """Return each test case of a JUnit file and what became of it."""
    suite = ET.parse(path).getroot().find("testsuite")  # noqa: S314  our own file
    return {
        case.get("name"): next((child.tag for child in case), "passed")
        for case in suite.iter("testcase")
    }


def test_too_short_a_drive_passes_no_strict_gate(drive, tmp_path, capsys):
    folder, _ = drive
    for name in ("old", "new"):
        assert evaluate(folder, name, tmp_path / name, "--duration", "3") == exit_codes.OK
    arguments = (tmp_path / "old", tmp_path / "new")
    assert compare(*arguments, "--fail-unless-not-worse", "0.1") == exit_codes.NOT_GOOD_ENOUGH
    assert compare(*arguments, "--fail-if-worse") == exit_codes.OK
    shown = capsys.readouterr().out
    assert "no interval: an interval needs 8 blocks" in shown
    assert "No evidence of a difference" in shown


def test_frames_that_one_lacks_are_left_out_and_said(drive, tmp_path, capsys):
    folder, maps = drive
    assert evaluate(folder, "new", tmp_path / "new", "--duration", "20") == exit_codes.OK
    assert compare(folder / "old", tmp_path / "new", "--format", "json") == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 40
    assert found["miou_a"] == pytest.approx(iou_of(maps["truth"][:40], maps["old"][:40]).mean())
    assert found["cautions"] == ["40 frames scored by A only, left out here"]
    # A candidate that fails on hard frames must not pass for it, one that scores more may.
    strict = ("--fail-unless-not-worse", "0.5")
    assert compare(folder / "old", tmp_path / "new", *strict) == exit_codes.NOT_GOOD_ENOUGH
    assert "B has no score for some frames that A scored" in capsys.readouterr().err
    assert compare(tmp_path / "new", folder / "new", *strict) == exit_codes.OK


def test_a_report_that_counts_absent_classes_otherwise_is_a_caution(drive, tmp_path, capsys):
    folder, maps = drive
    classes = (folder / "map.yaml").read_text() + "  - {name: bus, ids: [3]}\n"
    (tmp_path / "map.yaml").write_text(classes)
    (tmp_path / "bag").symlink_to(folder / "bag")
    for name in ("old", "new"):
        options = ("--absent-classes", "zero")
        assert evaluate(tmp_path, name, tmp_path / name, *options) == exit_codes.OK
    miou = iou_of(maps["truth"], maps["old"]).mean()
    for options, expected, cautions in (
        ((), miou, ["A's own report", "B's own report"]),
        (("--absent-classes", "zero"), miou * 3 / 4, []),
    ):
        arguments = (tmp_path / "old", tmp_path / "new", "--format", "json", *options)
        assert compare(*arguments) == exit_codes.OK
        found = json.loads(capsys.readouterr().out)
        assert found["miou_a"] == pytest.approx(expected)
        assert [each.partition(" has ")[0] for each in found["cautions"]] == cautions


def test_page_and_markdown_show_names_as_they_are(drive, tmp_path):
    folder, _ = drive
    text = (folder / "map.yaml").read_text()
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "map.yaml").write_text(text.replace('"pole"', json.dumps(EVIL)))
    (evil / "bag").symlink_to(folder / "bag")
    for name in ("old", "new"):
        assert evaluate(evil, name, evil / name) == exit_codes.OK
    assert compare(evil / "old", evil / "new", "--output", tmp_path / "c") == exit_codes.OK
    page = (tmp_path / "c" / "compare.html").read_text()
    assert "<b>pole</b>" not in page
    assert "| &lt;b&gt;pole&lt;/b&gt; `x`" in page
    markdown = (tmp_path / "c" / "compare.md").read_text()
    assert r"| &#124; \<b\>pole\</b\> \`x\` |" in markdown
    assert markdown.startswith("**B is better than A on 80 common frames.**")


def test_mistakes_are_lines(drive, tmp_path, capsys):
    folder, _ = drive
    assert compare(folder / "old", tmp_path) == exit_codes.WRONG
    assert "has no report.json and no frames.csv.gz" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "report.json").write_text("[" * 100_000)
    (broken / "frames.csv.gz").write_bytes((folder / "old" / "frames.csv.gz").read_bytes())
    output = tmp_path / "output"
    assert compare(folder / "old", broken, "--output", output) == exit_codes.WRONG
    assert "is not the report of an evaluation" in capsys.readouterr().err
    assert not output.exists()
    with pytest.raises(SystemExit) as error:
        compare(folder / "old", folder / "new", "--margin", "nan")
    assert error.value.code == exit_codes.USAGE


def compare_on(folder, bag, output, *options, topics=("old", "new")):
    words = [f"topic:/{name}" for name in topics]
    given = ("--label-topic", "/truth", "--labels", folder / "map.yaml", "--output", output)
    return compare(*words, bag, *given, *options)


def without_origin(found):
    """What two comparisons have in common that were made in different ways."""
    seen = ("became_right", "became_wrong", "disagreement")
    classes = [{k: v for k, v in each.items() if k not in seen} for each in found["classes"]]
    left_out = {*seen, "a", "b"}
    return {k: v for k, v in found.items() if k not in left_out} | {"classes": classes}


def test_two_on_a_bag_are_compared_as_their_folders_are(drive, tmp_path, capsys):
    folder, maps = drive
    truth, old, new = (maps[name] for name in ("truth", "old", "new"))
    code = compare_on(folder, folder / "bag", tmp_path / "c", "--fail-if-worse")
    assert code == exit_codes.OK
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert compare(folder / "old", folder / "new", "--output", tmp_path / "f") == exit_codes.OK
    by_folders = json.loads((tmp_path / "f" / "compare.json").read_text())
    assert without_origin(found) == without_origin(by_folders)
    assert len(found["became_better"]) == 5
    # Pixels, by NumPy; folders do not know them.
    right = [int(np.sum((truth == c) & (old != c) & (new == c))) for c in range(3)]
    wrong = [int(np.sum((truth == c) & (old == c) & (new != c))) for c in range(3)]
    assert [each["became_right"] for each in found["classes"]] == right
    assert [each["became_wrong"] for each in found["classes"]] == wrong
    assert (found["became_right"], found["became_wrong"]) == (sum(right), sum(wrong))
    assert found["disagreement"] == pytest.approx(np.mean(old != new))
    assert by_folders["became_right"] is by_folders["classes"][0]["became_right"] is None
    shown = capsys.readouterr().out
    assert f"{sum(right):,} pixels became right and {sum(wrong):,} wrong" in shown
    # What each evaluation alone would have left.
    for side, name in (("a", "old"), ("b", "new")):
        one, alone = (
            json.loads((place / "report.json").read_text())
            for place in (tmp_path / "c" / side, folder / name)
        )
        assert one["confusion"] == alone["confusion"]
        assert one["accounting"] == alone["accounting"]
    page = (tmp_path / "c" / "compare.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == len(found["became_better"]) + len(found["became_worse"])
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (2 * 24, 2 * 32, 3)


def test_a_frame_that_only_one_has_is_no_part_of_the_changes(drive, tmp_path):
    folder, maps = drive
    truth, old, new = (maps[name].copy() for name in ("truth", "old", "new"))
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(40):
            stamp = k * SECOND // 2
            # B comes late, and for every fourth frame not at all; the labels are behind both.
            writer.write_image("/old", stamp, "", mono8(old[k]), stamp)
            if k % 4:
                writer.write_image("/new", stamp, "", mono8(new[k]), stamp + 5 * SECOND)
            writer.write_image("/truth", stamp, "", mono8(truth[k]), stamp + 60 * SECOND)
    assert compare_on(folder, tmp_path / "bag", tmp_path / "c") == exit_codes.OK
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    both = np.arange(40) % 4 > 0
    truth, old, new = (maps[name][:40][both] for name in ("truth", "old", "new"))
    assert (found["frames"], found["only_a"], found["only_b"]) == (30, 10, 0)
    assert found["miou_a"] == pytest.approx(iou_of(truth, old).mean())
    assert found["became_right"] == np.sum((truth != old) & (truth == new))
    assert found["disagreement"] == pytest.approx(np.mean(old != new))
    alone = json.loads((tmp_path / "c" / "a" / "report.json").read_text())
    assert alone["frames"] == 40


def test_many_bags_are_read_for_both(many, tmp_path):
    folder, maps = many
    for name in ("old", "new"):
        assert evaluate_many(folder, name) == exit_codes.OK
    assert compare(folder / "old", folder / "new", "--output", tmp_path / "f") == exit_codes.OK
    assert compare_on(folder, folder / "drives", tmp_path / "c") == exit_codes.OK
    found, by_folders = (
        json.loads((tmp_path / name / "compare.json").read_text()) for name in ("c", "f")
    )
    assert without_origin(found) == without_origin(by_folders)
    truth, old, new = (np.concatenate(maps[name]) for name in ("truth", "old", "new"))
    assert found["became_wrong"] == np.sum((truth == old) & (truth != new))


def test_a_damaged_bag_is_compared_as_far_as_it_goes(many, tmp_path, capsys):
    folder, _ = many
    storage = next((folder / "drives" / "d5").glob("*.mcap"))
    storage.write_bytes(b"poison")
    junit = tmp_path / "junit.xml"
    options = ("--junit", junit)
    assert compare_on(folder, folder / "drives", tmp_path / "c", *options) == exit_codes.DAMAGED_BAG
    drives = {f"d{k}": "passed" for k in range(16)}
    assert judged(junit) == drives | {"d5": "error"}
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert len(found["bags"]) == 15
    assert any(each.startswith("A is incomplete: d5: ") for each in found["cautions"])
    assert compare_on(folder, storage, tmp_path / "d") == exit_codes.DAMAGED_BAG
    assert "cannot be read" in capsys.readouterr().err


def test_mistakes_about_bags_are_lines(drive, tmp_path, capsys):
    folder, _ = drive
    assert compare("demo", "demo", folder / "bag") == exit_codes.USAGE
    assert "takes --output DIR" in capsys.readouterr().err
    assert compare(folder / "old", folder / "new", "--device", "cpu") == exit_codes.USAGE
    assert "--device only matters for comparing checkpoints" in capsys.readouterr().err
    assert compare("old.pth", "new.pth") == exit_codes.WRONG
    assert "or two checkpoints and the bags" in capsys.readouterr().err
    wrong = compare_on(folder, folder / "bag", tmp_path, topics=("old", "elsewhere"))
    assert wrong == exit_codes.WRONG
    assert "'/elsewhere'" in capsys.readouterr().err


@pytest.fixture
def many(tmp_path):
    """Sixteen drives that all begin at 0, by two networks; returns counts by network and drive."""
    random = np.random.default_rng(8)
    drives = tmp_path / "drives"
    maps = {"truth": [], "old": [], "new": []}
    for k in range(16):
        truth = random.integers(0, 3, (3 + k % 3, 12, 16)).astype(np.uint8)
        hard = random.uniform(0.1, 0.3)
        found = {"truth": truth}
        for name, share in (("old", hard), ("new", hard / 2)):
            wrong = random.random(truth.shape) < share
            found[name] = np.where(wrong, (truth + 1) % 3, truth).astype(np.uint8)
        with BagWriter(drives / f"d{k}") as writer:
            for name, ids in found.items():
                maps[name].append(ids)
                for t, each in enumerate(ids):
                    writer.write_image(f"/{name}", t * SECOND, "", mono8(each))
    rows = "".join(f"  - {{name: {n}, ids: [{k}]}}\n" for k, n in enumerate(NAMES))
    (tmp_path / "map.yaml").write_text(f"classes:\n{rows}")
    return tmp_path, maps


def evaluate_many(folder, name, *options):
    words = ["--prediction-topic", f"/{name}", "--label-topic", "/truth", "--quiet"]
    words += ["--labels", str(folder / "map.yaml"), "--output", str(folder / name), *options]
    return cli.main(["evaluate", str(folder / "drives"), *words])


def test_many_bags_are_paired_by_name_and_resampled_as_drives(many, tmp_path, capsys):
    folder, maps = many
    for name in ("old", "new"):
        assert evaluate_many(folder, name) == exit_codes.OK
    arguments = (folder / "old", folder / "new", "--output", tmp_path / "c")
    assert compare(*arguments, "--fail-unless-not-worse", "0") == exit_codes.OK
    assert "B is better than A on 63 common frames of 16 bags." in capsys.readouterr().out
    found = json.loads((tmp_path / "c" / "compare.json").read_text())
    truth, old, new = (np.concatenate(maps[name]) for name in ("truth", "old", "new"))
    assert found["frames"] == len(truth) == 63
    assert found["miou_a"] == pytest.approx(iou_of(truth, old).mean())
    assert found["difference"] == pytest.approx((iou_of(truth, new) - iou_of(truth, old)).mean())
    assert (found["resampled"], found["blocks"]) == ("drives", 16)
    assert found["bags"] == [f"d{k}" for k in range(16)]
    # Whole drives drawn by NumPy.
    random = np.random.default_rng(4)
    gaps = []
    for _ in range(1000):
        chosen = random.integers(0, 16, 16)
        t, a, b = (np.concatenate([maps[n][k] for k in chosen]) for n in ("truth", "old", "new"))
        gaps.append((iou_of(t, b) - iou_of(t, a)).mean())
    lower, upper = np.quantile(gaps, [0.025, 0.975])
    assert 0.9 < (found["upper"] - found["lower"]) / (upper - lower) < 1.5
    assert {each["bag"] for each in found["became_better"]} <= set(found["bags"])
    assert compare(folder / "new", folder / "old", "--fail-if-worse") == exit_codes.NOT_GOOD_ENOUGH


def test_drives_that_one_run_lacks_are_left_out_and_said(many, capsys):
    folder, maps = many
    assert evaluate_many(folder, "old") == exit_codes.OK
    (folder / "drives" / "d3").rename(folder / "drives" / "e3")
    storage = next((folder / "drives" / "d5").glob("*.mcap"))
    storage.write_bytes(b"poison")
    assert evaluate_many(folder, "new") == exit_codes.DAMAGED_BAG
    assert compare(folder / "old", folder / "new", "--format", "json") == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    left = [k for k in range(16) if k not in {3, 5}]
    truth, old = (np.concatenate([maps[name][k] for k in left]) for name in ("truth", "old"))
    assert found["miou_a"] == pytest.approx(iou_of(truth, old).mean())
    assert found["resampled"] == "blocks of time"
    assert found["bags_only_a"] == ["d3", "d5"]
    assert found["bags_only_b"] == ["e3"]
    assert found["cautions"][:2] == [
        "bags that only A evaluated are left out (2): d3, d5",
        "bags that only B evaluated are left out (1): e3",
    ]
    (incomplete,) = found["cautions"][2:]
    assert incomplete.startswith("B is incomplete: d5: ")
    # One bag and many do not go together; a bag of the many does.
    assert compare(folder / "old", folder / "new" / "bags" / "d1") == exit_codes.WRONG
    assert "is of one bag and" in capsys.readouterr().err
    one = [folder / name / "bags" / "d1" for name in ("old", "new")]
    assert compare(*one) == exit_codes.OK


def test_a_bag_that_others_gave_a_longer_name_is_still_the_same(many, capsys):
    """Last night d1 was the only one of its name; since then another place recorded a d1."""
    folder, maps = many
    assert evaluate_many(folder, "old") == exit_codes.OK
    (folder / "drives" / "elsewhere").mkdir()
    shutil.copytree(folder / "drives" / "d2", folder / "drives" / "elsewhere" / "d1")
    assert evaluate_many(folder, "new") == exit_codes.OK
    assert compare(folder / "old", folder / "new", "--format", "json") == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    truth, new = (np.concatenate(maps[name]) for name in ("truth", "new"))
    assert found["miou_b"] == pytest.approx(iou_of(truth, new).mean())
    assert found["bags"] == [f"d{k}" for k in range(16)]
    assert (found["bags_only_a"], found["bags_only_b"]) == ([], ["elsewhere_d1"])
    assert compare(folder / "new", folder / "old", "--format", "json") == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    assert sorted(found["bags"]) == sorted(["drives_d1", *(f"d{k}" for k in range(16) if k != 1)])
    assert found["bags_only_a"] == ["elsewhere_d1"]


def test_a_bag_of_another_evaluation_is_refused(many, capsys):
    folder, _ = many
    for name in ("old", "new"):
        assert evaluate_many(folder, name) == exit_codes.OK
    before = (folder / "new" / "report.json").read_bytes()
    assert evaluate_many(folder, "new", "--duration", "1") == exit_codes.OK
    (folder / "new" / "report.json").write_bytes(before)
    assert compare(folder / "old", folder / "new") == exit_codes.WRONG
    assert "bag d0 in " in capsys.readouterr().err


def test_criteria_of_differences_and_of_b(drive, tmp_path, capsys):
    folder, maps = drive
    old, new = (iou_of(maps["truth"], maps[name]) for name in ("old", "new"))
    file, junit = tmp_path / "criteria.yaml", tmp_path / "junit.xml"
    gap = (new - old).mean()
    options = ("--criteria", file, "--junit", junit, "--output", tmp_path / "c")
    for shift, code in ((-1e-6, exit_codes.OK), (1e-6, exit_codes.NOT_GOOD_ENOUGH)):
        file.write_text(
            "criteria:\n"
            f"  - {{score: difference, at_least: {gap + shift:.9f}}}\n"
            f"  - {{score: difference, class: car, at_least: {(new - old)[1] - 1e-6:.9f}}}\n"
            "  - {score: difference_lower, at_least: 0}\n"
            f"  - {{score: miou, at_least: {new.mean() - 1e-6:.9f}}}\n"
        )
        assert compare(folder / "old", folder / "new", *options) == code
        found = json.loads((tmp_path / "c" / "compare.json").read_text())["criteria"]
        assert [each["passed"] for each in found] == [shift < 0, True, True, True]
        assert found[0]["value"] == pytest.approx(gap)
        assert found[3]["value"] == pytest.approx(new.mean())
        suite = ET.parse(junit).getroot().find("testsuite")  # noqa: S314  our own file
        assert (suite.get("tests"), suite.get("failures")) == ("4", str(int(shift > 0)))
        markdown = (tmp_path / "c" / "compare.md").read_text()
        assert ("**FAILED**: difference at least" in markdown) == (shift > 0)
        assert ("FAILED" in (tmp_path / "c" / "compare.html").read_text()) == (shift > 0)
        assert ("not good enough: difference" in capsys.readouterr().err) == (shift > 0)
