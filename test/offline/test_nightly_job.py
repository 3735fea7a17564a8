"""The nightly job of docs/ci.md, as it stands there, on drives with known predictions."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.report import criteria

SECOND = 1_000_000_000
PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
NETWORK = "--checkpoint candidate.pth --labels cityscapes"
PREDICTIONS = "--prediction-topic /{} --label-topic /labels --labels map.yaml"


def block(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two drives of 30 s, and what is in service: it errs in 10 % of pixels."""
    folder = tmp_path_factory.mktemp("nightly")
    random = np.random.default_rng(11)
    for drive in ("a", "b"):
        truth = random.integers(0, 2, (30, 24, 32)).astype(np.uint8)
        with BagWriter(folder / "drives" / drive) as writer:
            for k, ids in enumerate(truth):
                writer.write_image("/labels", k * SECOND, "", mono8(ids))
                for name, share in (("service", 0.1), ("good", 0.05), ("bad", 0.15)):
                    wrong = random.random(ids.shape) < share
                    found = np.where(wrong, 1 - ids, ids).astype(np.uint8)
                    writer.write_image(f"/{name}", k * SECOND, "", mono8(found))
    (folder / "map.yaml").write_text(
        "classes:\n  - {name: road, ids: [0]}\n  - {name: person, ids: [1]}\n"
    )
    (folder / "criteria.yaml").write_text(block("yaml"))
    program = folder / "bin" / "deeplab-miou"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deeplab_miou.cli "$@"\n')
    program.chmod(0o755)
    words = PREDICTIONS.format("service").replace("map.yaml", str(folder / "map.yaml")).split()
    output = ["--output", str(folder / "in_service"), "--quiet"]
    assert cli.main(["evaluate", str(folder / "drives"), *words, *output]) == exit_codes.OK
    return folder


def run_job(place, candidate):
    script = block("sh")
    assert NETWORK in script
    script = script.replace(NETWORK, PREDICTIONS.format(candidate))
    path = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    source = {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=place,
        env=os.environ | path | source,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_better_network_ships(place):
    assert run_job(place, "good")[0] == exit_codes.OK
    found = json.loads((place / "comparison" / "compare.json").read_text())
    assert [each["passed"] for each in found["criteria"]] == [True] * 5
    assert found["verdict"] == "better"


def test_a_worse_network_does_not_and_the_job_says_why(place):
    code, said = run_job(place, "bad")
    assert code == exit_codes.NOT_GOOD_ENOUGH == 5
    assert "not good enough: difference_lower at least -0.005: -0." in said
    assert "<failure" in (place / "compare.xml").read_text()


def test_a_damaged_drive_is_named_and_only_it_is_done_again(place):
    assert run_job(place, "good")[0] == exit_codes.OK
    storage = next((place / "drives" / "a").glob("*.mcap"))
    shutil.copy2(storage, place / "whole")
    storage.write_bytes(b"poison")
    code, said = run_job(place, "good")
    assert code == exit_codes.DAMAGED_BAG == 3
    assert "deeplab-miou: a: " in said
    assert "<error" in (place / "evaluate.xml").read_text()
    before = (place / "candidate" / "bags" / "b" / "report.json").stat().st_mtime_ns
    shutil.copy2(place / "whole", storage)
    assert run_job(place, "good")[0] == exit_codes.OK
    assert (place / "candidate" / "bags" / "b" / "report.json").stat().st_mtime_ns == before


def test_the_page_names_every_score():
    table = PAGE.split("## Criteria")[1]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named[1:]) == sorted(criteria.SCORES)  # the first is the heading
