from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")


@pytest.mark.parametrize("node", ["evaluator", "publisher", "replayer"])
def test_ctrl_c_while_a_node_imports_ends_it_quietly(node, tmp_path):
    # The first module that takes long says so and waits.
    (tmp_path / "rclpy.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    search = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    child = subprocess.Popen(
        [sys.executable, "-m", f"deeplab_miou.nodes.{node}"],
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
    assert child.returncode == 130
    assert written == ""
