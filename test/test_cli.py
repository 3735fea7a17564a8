from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli
from deeplab_miou.bags.writer import BagWriter

SECOND = 1_000_000_000


@pytest.fixture
def bag(tmp_path):
    path = tmp_path / "bag"
    random = np.random.default_rng(0)
    with BagWriter(path) as writer:
        for index in range(300):
            ids = random.integers(0, 19, (30, 40)).astype(np.uint8)
            writer.write_image("/prediction", index * SECOND, "", mono8(ids))
            writer.write_image("/camera/labels", index * SECOND, "", mono8(ids))
    return path


def arguments(bag, *more):
    known = ["evaluate", str(bag), "--prediction-topic", "/prediction"]
    return [*known, "--labels", "cityscapes_train_ids", *map(str, more)]


def test_a_bag_is_scored_and_reported(bag, tmp_path, capsys):
    assert cli.main(arguments(bag, "--output", tmp_path / "out")) == 0
    captured = capsys.readouterr()
    assert "mIoU 1.0000" in captured.out
    assert "labels: 300 received = 300 evaluated" in captured.out
    assert "report.json" in captured.err
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["miou"] == 1
    assert content["frames"] == 300
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_json_goes_to_standard_output_alone(bag, capsys):
    assert cli.main(arguments(bag, "--format", "json", "--duration", 10)) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames"] == 10
    assert captured.err == ""


def test_quiet_prints_nothing(bag, tmp_path, capsys):
    assert cli.main(arguments(bag, "--quiet", "--output", tmp_path / "out")) == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    assert (tmp_path / "out" / "report.json").exists()


def test_a_damaged_bag_is_reported_with_its_own_code(bag, tmp_path, capsys):
    path = bag / "bag.mcap"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 4 // 5])
    assert cli.main(arguments(bag, "--output", tmp_path / "out")) == 3
    assert "breaks off" in capsys.readouterr().err
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert 0 < content["frames"] < 300
    assert "breaks off" in content["problems"][0]


def test_nothing_evaluated_has_its_own_code(tmp_path, capsys):
    with BagWriter(tmp_path / "bag") as writer:
        ids = np.zeros((4, 4), np.uint8)
        writer.write_image("/prediction", 0, "", mono8(ids))
        writer.write_image("/camera/labels", SECOND, "", mono8(ids))
    assert cli.main(arguments(tmp_path / "bag")) == 4
    captured = capsys.readouterr()
    assert "nothing was evaluated" in captured.err
    assert "images: 1 received = 0 evaluated + 1 unmatched_image" in captured.out


def test_labels_without_a_scored_pixel_are_nothing_evaluated(tmp_path, capsys):
    with BagWriter(tmp_path / "bag") as writer:
        for second in range(12):
            writer.write_image(
                "/prediction", second * SECOND, "", mono8(np.zeros((4, 4), np.uint8))
            )
            unknown = mono8(np.full((4, 4), 77, np.uint8))
            writer.write_image("/camera/labels", second * SECOND, "", unknown)
    assert cli.main(arguments(tmp_path / "bag")) == 4
    captured = capsys.readouterr()
    assert "nothing was evaluated, as there was not a labelled pixel" in captured.err
    assert "images: 12 received = 12 evaluated" in captured.out
    assert "doubtful: 100% of the labels' pixels" in captured.out
    assert "first unknown labels: raw id 77 (16 pixels)" in captured.out


def test_mistakes_are_one_line(bag, tmp_path, capsys):
    for more, expected in (
        (["--label-topic", "/lables"], "/camera/labels (sensor_msgs/msg/Image)"),
        (["--labels", "nonsense"], "nonsense"),
        (["--output", bag / "metadata.yaml" / "x"], "cannot be written"),
        (["--start", "1000"], "start is 1000 s, but the images of bag"),
    ):
        assert cli.main(arguments(bag, *more)) == 1
        error = capsys.readouterr().err
        assert error.startswith("deeplab-miou: ")
        assert expected in error
        assert error.count("\n") == 1
    assert cli.main(arguments(tmp_path / "none")) == 1
    (tmp_path / "x.mcap").write_bytes(b"garbage")
    assert cli.main(arguments(tmp_path / "x.mcap")) == 3


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["nonsense"],
        ["evaluate"],
        ["evaluate", "bag"],
        ["evaluate", "bag", "--checkpoint", "a", "--prediction-topic", "b"],
        ["evaluate", "bag", "--checkpoint", "a", "--start", "-1"],
        ["evaluate", "bag", "--checkpoint", "a", "--duration", "nan"],
        ["evaluate", "bag", "--checkpoint", "a", "--start", "soon"],
        ["evaluate", "bag", "--checkpoint", "a", "--threads", "-2"],
        ["evaluate", "bag", "--checkpoint", "a", "--threads", "2.5"],
    ],
)
def test_wrong_usage_has_its_own_code(given, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(given)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "usage: deeplab-miou" in error
    assert "_seconds" not in error


@pytest.mark.parametrize("given", [["--help"], ["evaluate", "--help"]])
def test_help_is_light(given):
    script = (
        "import sys; from deeplab_miou import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: print('loaded', *({'torch', 'numpy', 'rosbags'} & set(sys.modules)))"
    )
    started_s = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", script, *given], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1].split() == ["loaded"]
    assert "exit codes" in result.stdout
    assert time.monotonic() - started_s < 5  # 0.05 s on an idle machine


def test_a_reader_that_has_enough_is_no_error(bag):
    command = [sys.executable, "-m", "deeplab_miou.cli", "evaluate", str(bag)]
    command += ["--prediction-topic", "/prediction", "--labels", "camvid11", "--format", "json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.6, 1.2])
def test_ctrl_c_ends_without_a_traceback(tmp_path, delay_s):
    # A module that is imported late says when the command has begun; then it goes on importing.
    code = (
        "import sys; from deeplab_miou import cli; run = cli._run\n"
        "cli._run = lambda given: (print('begun', flush=True), run(given), input())[1]\n"
        "sys.exit(cli.main())"
    )
    command = [sys.executable, "-c", code, "evaluate", str(tmp_path), "--checkpoint", "demo"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(delay_s)  # any moment will do
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
