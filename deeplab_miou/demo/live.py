"""Runs the nodes on a bag, each in its own process, and reports how it went."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.errors import DeeplabMiouError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_REPLAY_LIMIT_S = 600.0
_START_LIMIT_S = 60.0
_WATCHER_LIMIT_S = 600.0
_END_LIMIT_S = 20.0
_LOOK_PERIOD_S = 0.1
# Domains from 1 to 101 keep DDS's ports below the range that Linux gives to clients.
_DOMAINS = range(1, 102)


class LiveRunError(DeeplabMiouError):
    """The nodes did not do what they should; the message says which, and where its log is."""


@dataclass(frozen=True)
class DemoRun:
    """How it went.

    Attributes:
        summary: the replayer's last line.
        peak_mebibytes: greatest resident memory of each process, MiB, by node name.
        seconds: from the start of the first process to the end of the last.
    """

    summary: str
    peak_mebibytes: Mapping[str, float]
    seconds: float


def ros_environment() -> dict[str, str]:
    """Return an environment whose graph stays on this machine, in a domain of its own if need be.

    A ``ROS_DOMAIN_ID`` that is set is kept, so that one can watch with tools of that domain.
    """
    environment = dict(os.environ)
    environment.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().choice(_DOMAINS)))
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if environment.get("ROS_DISTRO") == "humble":
        # Which does not know the former.
        environment.setdefault("ROS_LOCALHOST_ONLY", "1")
    return environment


def run_live(
    bag: Path,
    output: Path,
    *,
    checkpoint: str,
    environment: dict[str, str],
    on_page: Callable[[str], object],
    wait_for_watcher: bool = False,
) -> DemoRun:
    """Score a bag live: replayer, evaluator, publisher and page as four processes over DDS.

    The replay is paced by what the evaluator has taken, so nothing is lost. The publisher writes
    ``report.json`` and ``report.html`` into `output`; logs go to ``output/logs``.

    Args:
        bag: the bag to play.
        output: folder for report and logs.
        checkpoint: the network's file, or ``demo``.
        environment: for the processes, see `ros_environment`.
        on_page: called with the address of the live page before the bag is played.
        wait_for_watcher: play the bag only when somebody has opened the page.

    Raises:
        LiveRunError: a process failed or did not end.
    """
    logs = output / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    nodes: dict[str, subprocess.Popen[bytes]] = {}
    peaks: dict[str, float] = {}
    try:
        for name, module, parameters in (
            ("deeplab_evaluator", "evaluator", {"checkpoint": checkpoint}),
            ("miou_publisher", "publisher", {"report_directory": str(output.resolve())}),
            ("miou_watch", "watch", {"port": "0", "autostart_exit_on_failure": "true"}),
        ):
            nodes[name] = _start(name, module, parameters, logs, environment)
        on_page(_wait_for_line("miou_watch", "watch the score at ", nodes, logs, _START_LIMIT_S))
        if wait_for_watcher:
            _wait_for_line("miou_watch", "the page is open", nodes, logs, _WATCHER_LIMIT_S)
        replay = _replay_parameters(bag)
        nodes["bag_replayer"] = _start("bag_replayer", "replayer", replay, logs, environment)
        status = _watch(nodes, peaks)
        if status != 0:
            raise LiveRunError(f"bag_replayer ended with status {status}: {_tail(logs, nodes)}")
        for name in ("deeplab_evaluator", "miou_publisher", "miou_watch"):
            nodes[name].send_signal(signal.SIGINT)
            status = _wait(nodes[name], _END_LIMIT_S)
            if status != 0:
                raise LiveRunError(f"{name} ended with status {status}: {_tail(logs, nodes)}")
    finally:
        for node in nodes.values():
            if node.poll() is None:
                node.kill()
            node.wait()
    summary = (logs / "bag_replayer.log").read_text(errors="replace").strip().splitlines()
    return DemoRun(summary[-1] if summary else "", peaks, time.monotonic() - began_s)


def _replay_parameters(bag: Path) -> dict[str, str]:
    return {"bag": str(bag.resolve()), "paced": "true", "publisher": "/miou_publisher"}


def _start(
    name: str, module: str, parameters: Mapping[str, str], logs: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    arguments = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
    command = [sys.executable, "-m", f"deeplab_miou.nodes.{module}", "--ros-args", *arguments]
    with (logs / f"{name}.log").open("wb") as log:
        # The replayer's progress goes to the terminal, all else into the log.
        errors = None if name == "bag_replayer" else subprocess.STDOUT
        return subprocess.Popen(command, stdout=log, stderr=errors, env=environment)  # noqa: S603


def _wait_for_line(
    name: str, text: str, nodes: Mapping[str, subprocess.Popen[bytes]], logs: Path, limit_s: float
) -> str:
    """Return what follows a text in a node's log."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        has_ended = _wait(nodes[name], _LOOK_PERIOD_S) is not None
        log = (logs / f"{name}.log").read_text(errors="replace")
        if text in log:
            return log.partition(text)[2].partition("\n")[0]
        if has_ended:
            break
    raise LiveRunError(f"{name} did not say {text.strip()!r}: {_tail(logs, nodes)}")


def _watch(nodes: Mapping[str, subprocess.Popen[bytes]], peaks: dict[str, float]) -> int | None:
    """Wait for the replayer and note everybody's memory meanwhile."""
    deadline_s = time.monotonic() + _REPLAY_LIMIT_S
    while time.monotonic() < deadline_s:
        for name, node in nodes.items():
            with contextlib.suppress(OSError):
                peaks[name] = _peak_mebibytes(node.pid) or peaks.get(name, 0.0)
        status = _wait(nodes["bag_replayer"], _LOOK_PERIOD_S)
        if status is not None:
            return status
    return None


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None


def _tail(logs: Path, nodes: Mapping[str, object]) -> str:
    lines = []
    for name in nodes:
        written = (logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
        if written:
            lines.append(f"{name}: {written[-1]}")
    return f"{'; '.join(lines) or 'nothing was logged'}; logs are in {logs}"


def _peak_mebibytes(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read())
    # A process that has ended has no memory left to speak of.
    return int(found[1]) / 1024 if found else 0.0
