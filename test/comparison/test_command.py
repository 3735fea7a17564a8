"""The whole way: two networks' predictions in a bag, evaluated, compared, counted by NumPy."""

import json

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
    assert "B is worse than A on 80 common frames." in capsys.readouterr().out
    assert compare(new, old, "--fail-if-worse", "0.5") == exit_codes.OK
    assert compare(old, old, "--fail-unless-not-worse", "0.001") == exit_codes.OK
    assert compare(new, old, "--fail-unless-not-worse", "0.001") == exit_codes.NOT_GOOD_ENOUGH


def test_too_short_a_drive_passes_no_strict_gate(drive, tmp_path, capsys):
    folder, _ = drive
    for name in ("old", "new"):
        assert evaluate(folder, name, tmp_path / name, "--duration", "3") == exit_codes.OK
    arguments = (tmp_path / "old", tmp_path / "new")
    assert compare(*arguments, "--fail-unless-not-worse", "0.1") == exit_codes.NOT_GOOD_ENOUGH
    assert compare(*arguments, "--fail-if-worse") == exit_codes.OK
    shown = capsys.readouterr().out
    assert "no interval: an interval takes 8 blocks" in shown
    assert "No evidence of a difference" in shown


def test_frames_that_one_lacks_are_left_out_and_said(drive, tmp_path, capsys):
    folder, maps = drive
    assert evaluate(folder, "new", tmp_path / "new", "--duration", "20") == exit_codes.OK
    assert compare(folder / "old", tmp_path / "new", "--format", "json") == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 40
    assert found["miou_a"] == pytest.approx(iou_of(maps["truth"][:40], maps["old"][:40]).mean())
    assert found["cautions"] == ["40 frames were scored by A only and are left out"]


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
    assert r"| \| \<b\>pole\</b\> \`x\` |" in markdown
    assert markdown.startswith("**B is better than A on 80 common frames.**")


def test_mistakes_are_lines(drive, tmp_path, capsys):
    folder, _ = drive
    assert compare(folder / "old", tmp_path) == exit_codes.WRONG
    assert "has no report.json and no frames.csv.gz" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "report.json").write_text("[" * 100_000)
    (broken / "frames.csv.gz").write_bytes((folder / "old" / "frames.csv.gz").read_bytes())
    assert compare(folder / "old", broken) == exit_codes.WRONG
    assert "is no report of an evaluation" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        compare(folder / "old", folder / "new", "--margin", "nan")
    assert error.value.code == exit_codes.USAGE
