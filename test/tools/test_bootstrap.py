import importlib
import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def _scripts_folder(monkeypatch):
    """The set-up's modules import each other as scripts do, from their own folder."""
    monkeypatch.syspath_prepend(TOOLS)


@pytest.fixture
def bootstrap():
    return importlib.import_module("bootstrap")


@pytest.fixture
def steps():
    return importlib.import_module("steps")


def sourced(prefix):
    (prefix / "share" / "rclpy").mkdir(parents=True)
    (prefix / "share" / "rclpy" / "package.xml").touch()
    return prefix


def test_wheels_are_jazzy_unless_named(bootstrap):
    assert bootstrap.find_ros({}) == bootstrap.Ros("jazzy", None)
    assert bootstrap.find_ros({"ROS_DISTRO": "kilted"}) == bootstrap.Ros("kilted", None)


def test_unknown_distribution_is_refused_by_name(bootstrap, steps):
    with pytest.raises(steps.StopError, match=r"'humble'.*jazzy, kilted"):
        bootstrap.find_ros({"ROS_DISTRO": "humble"})


def test_sourced_ros_wins_and_an_overlay_without_rclpy_does_not_hide_it(bootstrap, tmp_path):
    prefix = sourced(tmp_path / "humble")
    paths = f"{tmp_path / 'overlay'}:{prefix}"
    ros = bootstrap.find_ros({"ROS_DISTRO": "humble", "AMENT_PREFIX_PATH": paths})
    assert ros == bootstrap.Ros("humble", prefix)
    assert ros.kind == "sourced-humble"


def test_own_environment_is_not_taken_for_a_sourced_ros(bootstrap, tmp_path):
    prefix = sourced(tmp_path / ".venv")
    (prefix / ".setup").mkdir()
    (prefix / ".setup" / "environment.json").touch()
    assert bootstrap.find_ros({"AMENT_PREFIX_PATH": str(prefix)}).prefix is None


def test_first_kind_gets_the_plain_folder_and_others_their_own(bootstrap, tmp_path):
    assert bootstrap.choose_folder(tmp_path, "kilted") == tmp_path / ".venv"
    state = tmp_path / ".venv" / ".setup"
    state.mkdir(parents=True)
    (state / "environment.json").write_text(json.dumps({"kind": "kilted"}))
    assert bootstrap.choose_folder(tmp_path, "kilted") == tmp_path / ".venv"
    assert bootstrap.choose_folder(tmp_path, "jazzy") == tmp_path / ".venv-jazzy"


def test_include_paths_of_the_build_machine_are_replaced_once(bootstrap, tmp_path):
    file = tmp_path / "share" / "x" / "cmake" / "x.cmake"
    file.parent.mkdir(parents=True)
    numpy = "/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"
    file.write_text(f'"/opt/python/cp311-cp311/include/python3.11;{numpy};${{PREFIX}}/include"')
    assert bootstrap.patch_include_paths(tmp_path, "/usr/include/python3.11", "/np") == 1
    assert file.read_text() == '"/usr/include/python3.11;/np;${PREFIX}/include"'
    assert bootstrap.patch_include_paths(tmp_path, "/usr/include/python3.11", "/np") == 0


def test_digest_follows_contents_and_names_but_not_caches(steps, tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "a.py").write_text("1")
    before = steps.digest(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_text("x")
    assert steps.digest(folder) == before
    (folder / "a.py").rename(folder / "b.py")
    renamed = steps.digest(folder)
    (folder / "b.py").write_text("2")
    assert len({before, renamed, steps.digest(folder)}) == 3


def test_step_runs_until_it_has_finished_once_and_again_when_its_key_changes(steps, tmp_path):
    runner = steps.Runner(tmp_path / "state")
    ran = []
    product = tmp_path / "product"

    def make():
        ran.append(1)
        if len(ran) == 1:
            raise KeyboardInterrupt
        product.touch()

    step = steps.Step("one", "One", "key", make, (product,))
    with pytest.raises(KeyboardInterrupt):
        runner.run([step])
    assert runner.pending([step]) == [step]
    runner.run([step])
    assert runner.pending([step]) == []
    assert runner.pending([steps.Step("one", "One", "other key", make, (product,))])
    product.unlink()
    assert runner.pending([step]) == [step]


def test_a_failed_command_stops_its_step_which_runs_again(steps, tmp_path, capfd):
    runner = steps.Runner(tmp_path / "state")
    code = "import sys; sys.exit('No space left on device')"
    command = [sys.executable, "-c", code]
    step = steps.Step("one", "Fill it", "k", lambda: steps.run(command, {}, tmp_path))
    with pytest.raises(steps.StopError, match=r"ended with status 1: see what it printed above"):
        runner.run([step])
    assert "No space left on device" in capfd.readouterr().err
    assert runner.pending([step]) == [step]


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_lock_pins_every_line_to_one_version(distro):
    lines = (TOOLS / f"ros-{distro}.lock").read_text().splitlines()[1:]
    names = [line.partition("==")[0] for line in lines]
    assert "ros-rclpy" in names
    assert len(names) == len(set(names))
    assert all(line.partition("==")[2].replace(".", "").isdigit() for line in lines)
