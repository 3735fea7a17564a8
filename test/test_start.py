from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys

import pytest

NODES = [f"deeplab_miou.nodes.{node}" for node in ("evaluator", "publisher", "replayer", "watch")]


def interrupt_while_it_imports(folder, blocked, *arguments):
    """Send SIGINT to a program that is importing a module; return status and what it wrote."""
    # The module says that it is being imported, and waits.
    (folder / f"{blocked}.py").write_text(
        "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"
    )
    search = os.pathsep.join([str(folder), *(path for path in sys.path if path)])
    child = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )
    try:
        assert child.stdout.readline() == "begun\n"
        child.send_signal(signal.SIGINT)
        _, written = child.communicate(timeout=20)
    finally:
        child.kill()
    return child.returncode, written


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("blocked", ["numpy", "rclpy"])
def test_ctrl_c_while_a_node_imports_ends_it_quietly(tmp_path, node, blocked):
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("ROS 2 is not installed")
    assert interrupt_while_it_imports(tmp_path, blocked, node) == (130, "")


# From the first module that is not there yet to the last.
@pytest.mark.parametrize("blocked", ["argparse", "yaml", "numpy", "rosbags", "cv2"])
def test_ctrl_c_while_the_command_imports_ends_it_quietly(tmp_path, blocked):
    (tmp_path / "bag").mkdir()
    command = ["deeplab_miou", "evaluate", "bag", "--prediction-topic", "/p", "--labels", "camvid"]
    assert interrupt_while_it_imports(tmp_path, blocked, *command) == (130, "")
