"""Bags on a real Ray of several processes on this machine, some of them killed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import network_drives
import numpy as np
import pytest
import region_drives
from image_files import mono8

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.offline.cluster import evaluation, pool, worker

SECOND = 1_000_000_000
FRAMES = 24
# Ray's own, which this project cannot mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def ray(monkeypatch):
    """Ray, whose workers find this package where this process has it; a few frames a section."""
    package = pytest.importorskip("ray", reason="ray is not installed: requirements-ray.txt")
    root = str(Path(cli.__file__).parents[1])
    folders = [root, os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # Else Ray writes a token into the home folder.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(evaluation, "SECTION_FRAMES", 5)
    yield package
    package.shutdown()


def write_drive(path, seed):
    """Write a drive, each third label three frames late; return its counts by NumPy."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, (FRAMES, 24, 32)).astype(np.uint8)
    truth[truth == 3] = 255
    wrong = random.random(truth.shape) < random.uniform(0.1, 0.4)
    prediction = np.where(wrong, random.integers(0, 4, truth.shape), truth).astype(np.uint8)
    with BagWriter(path) as writer:
        late = {}
        for k in range(FRAMES):
            writer.write_image("/prediction", k * SECOND, "", mono8(prediction[k]))
            if k % 3 == 0 and k + 3 < FRAMES:
                late[k + 3] = k
            else:
                writer.write_image("/labels", k * SECOND, "", mono8(truth[k]))
            if k in late:
                writer.write_image("/labels", late[k] * SECOND, "", mono8(truth[late[k]]))
    scored = truth != 255
    matrix = np.zeros((3, 4), np.int64)
    np.add.at(matrix, (truth[scored], np.minimum(prediction[scored], 3)), 1)
    return matrix


@pytest.fixture
def drives(tmp_path):
    """Three drives and their label map; returns the counts by name."""
    (tmp_path / "map.yaml").write_text(
        "classes:\n" + "".join(f"  - {{name: class{k}, ids: [{k}]}}\n" for k in range(3))
    )
    return {name: write_drive(tmp_path / "drives" / name, k) for k, name in enumerate("abc")}


def evaluate(folder, bags, output, *options):
    return cli.main(
        [
            *("evaluate", str(bags), "--prediction-topic", "/prediction"),
            *("--label-topic", "/labels", "--labels", str(folder / "map.yaml")),
            *("--output", str(folder / output), *options),
        ]
    )


def results(folder):
    """Return all numbers of a folder of reports, and its tables of frames."""
    found = {}
    for path in sorted(folder.rglob("report.json")):
        content = json.loads(path.read_text())
        for key in ("started", "ended"):
            del content["provenance"][key]
        found[str(path.relative_to(folder))] = content
    for path in sorted(folder.rglob("frames.csv.gz")):
        found[str(path.relative_to(folder))] = gzip.decompress(path.read_bytes())
    return found


def workers():
    """Return the process ids of Ray's workers that this project has started here, by their name."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            # Ray names a process after what it does: `ray::ClusterWorker.score`.
            words = (entry / "cmdline").read_bytes()
            ours = str(Path(cli.__file__).parents[1]).encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
        if words.startswith(b"ray::ClusterWorker") and ours:
            found.append(int(entry.name))
    return found


@pytest.mark.usefixtures("ray")
def test_workers_that_are_killed_cost_nothing(drives, tmp_path, monkeypatch, capsys):
    assert evaluate(tmp_path, tmp_path / "drives", "one") == exit_codes.OK
    assert capsys.readouterr().err
    taken = []

    class Killing(evaluation._Work):
        def take(self, task, value):
            if task.method == "score":
                taken.append(task)
                if len(taken) == 4:
                    victims = workers()
                    assert victims
                    for victim in victims:
                        os.kill(victim, signal.SIGKILL)
            return super().take(task, value)

    monkeypatch.setattr(evaluation, "_Work", Killing)
    assert evaluate(tmp_path, tmp_path / "drives", "many", "--ray", "local") == exit_codes.OK
    error = capsys.readouterr().err
    assert "a worker was lost" in error
    assert "its part is repeated" in error
    assert len(taken) == 3 * 5
    found = results(tmp_path / "many")
    assert found == results(tmp_path / "one")
    assert found["report.json"]["confusion"] == sum(drives.values()).tolist()
    assert found["report.json"]["frames"] == 3 * FRAMES
    assert found["report.json"]["miou_lower"] < found["report.json"]["miou"]


@pytest.mark.usefixtures("ray")
def test_poison_is_reported_and_stops_nothing(drives, tmp_path, monkeypatch, capsys):
    (tmp_path / "drives" / "bad").mkdir()
    (tmp_path / "drives" / "bad" / "bad_0.mcap").write_bytes(b"nothing of a bag" * 50)
    give = pool.Pool._give

    def deadly(self, worker, task):
        if task.bag == "b" and task.method == "score":
            # Before the task, which a worker that is killed from outside may still finish.
            worker.__ray_call__.remote(lambda _: os._exit(1))
        give(self, worker, task)

    monkeypatch.setattr(pool.Pool, "_give", deadly)
    code = evaluate(tmp_path, tmp_path / "drives", "out", "--ray", "local")
    assert code == exit_codes.DAMAGED_BAG
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {each["name"]: each["status"] for each in report["bags"]} == {
        "a": "evaluated",
        "b": "failed",
        "bad": "failed",
        "c": "evaluated",
    }
    assert report["confusion"] == (drives["a"] + drives["c"]).tolist()
    assert "3 workers were lost with it" in capsys.readouterr().err
    # What failed is tried again, what is finished is not: with one process as well.
    monkeypatch.undo()
    code = evaluate(tmp_path, tmp_path / "drives", "out")
    assert code == exit_codes.DAMAGED_BAG
    assert capsys.readouterr().err.count("(from an earlier run)") == 2
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["confusion"] == sum(drives.values()).tolist()


@pytest.mark.usefixtures("ray")
def test_a_network_on_a_cluster_that_is_there(tmp_path, monkeypatch):
    """One bag, as it is without Ray; relative paths, because workers start in other folders."""
    network = network_drives.balanced(network_drives.Network())
    counts = network_drives.write_drive(tmp_path, network)
    network_drives.script(network, tmp_path / "net.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--port={port}", "--num-cpus=2", "--include-dashboard=false"),
        *("--disable-usage-stats", "--node-ip-address=127.0.0.1"),
    ]
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "ray.log").open("wb") as log:
        cluster = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        deadline_s = time.monotonic() + 120
        while "Ray runtime started" not in (tmp_path / "ray.log").read_text():
            assert cluster.poll() is None, (tmp_path / "ray.log").read_text()
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        address = f"127.0.0.1:{port}"
        options = ("--labels", "map.yaml", "--output", "out", "--device", "cpu", "--quiet")
        code = cli.main(["evaluate", "bag", "--checkpoint", "net.pt", *options, "--ray", address])
    finally:
        os.killpg(cluster.pid, signal.SIGTERM)
        try:
            cluster.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()
    assert code == exit_codes.OK
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    np.testing.assert_array_equal(report["confusion"], counts)
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--labels", "nowhere.yaml"], "nowhere.yaml"),
        (["--label-topic", "/nothing"], "/nothing"),
    ],
)
@pytest.mark.usefixtures("ray", "drives")
def test_mistakes_are_one_line(tmp_path, capsys, options, line):
    code = evaluate(tmp_path, tmp_path / "drives" / "a", "out", *options, "--ray", "local")
    assert code == exit_codes.WRONG
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("drives")
def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert evaluate(tmp_path, tmp_path / "drives", "out", "--ray") == exit_codes.WRONG
    error = capsys.readouterr().err
    assert "pip install -r requirements-ray.txt" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("drives")
def test_a_bag_is_not_taken_for_an_address(tmp_path, capsys):
    bags = tmp_path / "drives"
    code = evaluate(tmp_path, bags / "a", "out", "--ray", str(bags / "b"))
    assert code == exit_codes.USAGE
    assert "--ray takes an address" in capsys.readouterr().err


class OddError(Exception):
    """Cannot be built again from what pickle keeps of it."""

    def __init__(self, code, *, where):
        super().__init__(f"{code} at {where}")


class Failing(worker.ClusterWorker):
    """A worker with a programming error."""

    def _of(self, bag):
        raise OddError(7, where=bag)


@pytest.mark.usefixtures("drives")
def test_a_programming_error_stops_it_loudly(ray, tmp_path, monkeypatch, capsys):
    ray.cloudpickle.register_pickle_by_value(sys.modules[Failing.__module__])
    monkeypatch.setattr(pool, "ClusterWorker", Failing)
    with pytest.raises(pool.WorkerCrashError, match=r"in _of[\s\S]*OddError: 7 at .*/drives/a"):
        evaluate(tmp_path, tmp_path / "drives" / "a", "out", "--ray", "local")
    assert capsys.readouterr().err.count("its part is repeated") >= 2


@pytest.mark.usefixtures("ray")
def test_regions_and_types_of_mistakes_are_those_of_one_process(tmp_path):
    halves = range(7), range(7, region_drives.FRAMES)
    bags = [
        region_drives.write(tmp_path / name, half) for name, half in zip("ab", halves, strict=True)
    ]
    regions = str(region_drives.write_regions(tmp_path))
    for output, ray_or_not in (("one", []), ("many", ["--ray", "local"])):
        code = cli.main(
            [
                *("evaluate", *map(str, bags), "--prediction-topic", region_drives.PREDICTION),
                *("--labels", "cityscapes_train_ids", "--regions", regions, "--error-types"),
                *("--output", str(tmp_path / output), *ray_or_not),
            ]
        )
        assert code == exit_codes.OK
    found = results(tmp_path / "many")
    assert found == results(tmp_path / "one")
    whole, of_regions = region_drives.expected()
    assert found["report.json"]["confusion"] == whole.tolist()
    assert {each["name"]: each["confusion"] for each in found["report.json"]["regions"]} == {
        name: matrix.tolist() for name, matrix in of_regions.items()
    }
    types = np.array(found["report.json"]["mistakes"])[:, :6].sum()
    assert types == 2 * (whole.sum() - whole.trace()) - whole[:, -1].sum()
