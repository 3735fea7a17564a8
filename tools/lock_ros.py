"""Write tools/ros-DISTRO.lock: exact versions of the ROS 2 wheels named in tools/ros-packages.txt.

    python3 tools/lock_ros.py jazzy kilted

Needs pip and the package index; for maintainers, when new wheels have appeared.
"""

# ruff: noqa: INP001, S603, T201  (a script: it prints and starts pip)
from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
DISTROS = ("jazzy", "kilted")


def wanted(distro: str) -> list[str]:
    """Return the metapackages of a distribution that the list names."""
    names = []
    for raw in (TOOLS / "ros-packages.txt").read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"([a-z0-9-]+)(?: \[(\w+)\])?", raw.strip())
        if found and found[2] in {None, distro}:
            names.append(f"ros-{distro}-{found[1]}")
    return names


def resolve(names: list[str]) -> dict[str, str]:
    """Return name and version of everything that pip would install for the names."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), *names]
        subprocess.run(command, check=True)
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in entries}


def write(distro: str) -> Path:
    """Resolve and write the lock of one distribution; metapackages stay out of it."""
    versions = resolve(wanted(distro))
    pins = sorted(
        f"{name}=={version}"
        for name, version in versions.items()
        if name.startswith("ros-") and not name.startswith(f"ros-{distro}-")
    )
    path = TOOLS / f"ros-{distro}.lock"
    head = f"# ROS 2 {distro.capitalize()} as wheels. Written by tools/lock_ros.py."
    path.write_text("\n".join([head, *pins, ""]), encoding="utf-8")
    print(f"{path}: {len(pins)} wheels")
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or DISTROS:
        if name not in DISTROS:
            sys.exit(f"unknown distribution {name!r}: expected some of {', '.join(DISTROS)}")
        write(name)
