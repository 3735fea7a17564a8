"""Create or refresh the project's environment, then run a command in it.

    python3 tools/bootstrap.py [--dev] [-- COMMAND ...]

The environment is a virtual environment with the pinned Python packages, ROS 2, the built message
package and this package. ROS 2 is the sourced one if there is one, else it is installed from PyPI
wheels: Jazzy, or the distribution that ROS_DISTRO names. Only what has changed is done again.

The folder is `.venv`. A second kind of environment beside it (another distribution, or a sourced
ROS 2) gets a folder of its own, `.venv-KIND`, so that changing back and forth costs nothing.
"""

# ruff: noqa: INP001, S603, T201  (a script: it prints and starts programs)
from __future__ import annotations

import sys

if sys.version_info < (3, 10):  # noqa: UP036  (said in one line, before newer syntax is met)
    sys.exit(
        f"error: Python {sys.version_info[0]}.{sys.version_info[1]} is too old, 3.10-3.14 is "
        "needed: install one and name it, for example `make PYTHON=python3.12 demo`"
    )

import argparse
import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steps import Runner, Step, StopError, digest, run, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
PACKAGE = "deeplab_miou"
MESSAGES = "deeplab_miou_msgs"
PACKAGE_SOURCES = (
    *("config", PACKAGE, "launch", "security"),
    *("package.xml", "resource", "setup.cfg", "setup.py"),
)
WHEEL_DISTROS = ("jazzy", "kilted")
NEWEST_PYTHON = (3, 14)
OLDEST_GLIBC = (2, 28)
# Paths of the machine that built the wheels, left in their CMake files.
BUILD_PYTHON = re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")
BUILD_NUMPY = re.compile(r"/opt/[^;\"\s]*/site-packages/numpy/_?core/include")


@dataclass(frozen=True)
class Ros:
    """Where ROS 2 comes from: `prefix` is that of a sourced one, or None for wheels."""

    distro: str
    prefix: Path | None

    @property
    def kind(self) -> str:
        """Name of the kind of environment that this ROS 2 needs."""
        return self.distro if self.prefix is None else f"sourced-{self.distro}"

    def __str__(self) -> str:
        """Say it to a person."""
        return f"ROS 2 {self.distro} from {self.prefix or 'wheels'}"


def find_ros(environ: dict[str, str]) -> Ros:
    """Return the sourced ROS 2, else the distribution to take from wheels.

    Raises:
        StopError: ROS_DISTRO names a distribution that is neither sourced nor there as wheels.
    """
    distro = environ.get("ROS_DISTRO", "")
    for entry in environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        prefix = Path(entry)
        ours = (prefix / ".setup" / "environment.json").exists()
        if entry and not ours and (prefix / "share/rclpy/package.xml").is_file():
            return Ros(distro or prefix.name, prefix)
    if distro and distro not in WHEEL_DISTROS:
        message = (
            f"ROS_DISTRO is {distro!r}, which is not sourced and not available as wheels "
            f"({', '.join(WHEEL_DISTROS)}): source its setup.bash, or `unset ROS_DISTRO`"
        )
        raise StopError(message)
    return Ros(distro or WHEEL_DISTROS[0], None)


class Environment:
    """One virtual environment of the project and the steps that make it."""

    def __init__(self, folder: Path, ros: Ros, environ: dict[str, str]) -> None:
        self.folder = folder
        self.ros = ros
        self.state = folder / ".setup"
        self.python = folder / "bin" / "python"
        self.env = self._variables(environ)
        self.runner = Runner(self.state)

    def steps(self, *, dev: bool) -> list[Step]:
        """Return the steps, each with a key made of all that it depends on."""
        build = TOOLS / "requirements-build.txt"
        constraints = TOOLS / "constraints.txt"
        runtime = ROOT / "requirements.txt"
        tests = ROOT / "requirements-dev.txt"
        venv = digest(str(self.folder), self.ros.kind, str(self.ros.prefix))
        packages = digest(venv, runtime, constraints)
        if self.ros.prefix is None:
            wheels = TOOLS / f"ros-{self.ros.distro}.lock"
            ros = digest(venv, wheels, build, constraints)
            ros_title = f"Install {self.ros} (tools/{wheels.name})"
        else:
            wheels = None
            ros = digest(venv, build, constraints)
            ros_title = f"Check {self.ros}"
        sources = [ROOT / name for name in PACKAGE_SOURCES]
        program = self.folder / "lib" / PACKAGE / "deeplab-miou"
        steps = [
            Step("venv", f"Create {self.folder.name}", venv, self._create, (self.python,)),
            Step(
                "packages",
                "Install the Python packages (requirements.txt; torch is the large one)",
                packages,
                lambda: self._pip("-r", runtime),
            ),
            Step("ros", ros_title, ros, lambda: self._ros(wheels, build)),
            Step(
                "messages",
                f"Build {MESSAGES}",
                digest(ros, ROOT / MESSAGES),
                self._build_messages,
                (self.folder / "share" / MESSAGES / "package.xml",),
            ),
            Step(
                "package",
                f"Install {PACKAGE}",
                digest(venv, *sources),
                self._install_package,
                (program, self.folder / "bin" / "deeplab-miou"),
            ),
        ]
        if dev:
            key = digest(packages, tests)
            title = "Install the test tools (requirements-dev.txt)"
            steps.insert(3, Step("dev", title, key, lambda: self._pip("-r", tests)))
        return steps

    def _variables(self, environ: dict[str, str]) -> dict[str, str]:
        """Return the variables of programs that run in this environment."""
        env = dict(environ)
        for name in ("PYTHONHOME", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "__PYVENV_LAUNCHER__"):
            env.pop(name, None)
        if self.ros.prefix is None:
            for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "PYTHONPATH"):
                env.pop(name, None)
        # Another environment of this clone may be active: its libraries must not be found.
        libraries = env.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
        kept = [path for path in libraries if path and not path.startswith(f"{ROOT}/.venv")]
        if kept:
            env["LD_LIBRARY_PATH"] = os.pathsep.join(kept)
        for name, path in self._prepended().items():
            env[name] = os.pathsep.join([str(path), *filter(None, [env.get(name)])])
        env["VIRTUAL_ENV"] = str(self.folder)
        env["ROS_DISTRO"] = self.ros.distro
        env["PIP_USER"] = "0"
        env["COLCON_DEFAULTS_FILE"] = str(ROOT / "colcon_defaults.yaml")
        return env

    def _prepended(self) -> dict[str, Path]:
        """Return the search paths that this environment stands first in."""
        paths = {"PATH": self.folder / "bin"}
        paths |= dict.fromkeys(("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"), self.folder)
        if self.ros.prefix is not None:
            # Wheels set the library path themselves; with a sourced ROS 2 nobody does.
            paths |= {"LD_LIBRARY_PATH": self.folder / "lib", "PYTHONPATH": self._site_packages()}
        return paths

    def _site_packages(self) -> Path:
        major, minor = sys.version_info[:2]
        return self.folder / "lib" / f"python{major}.{minor}" / "site-packages"

    def _create(self) -> None:
        marker = self.state / "environment.json"
        if self.folder.exists() and (marker.exists() or not works(self.python)):
            shutil.rmtree(self.folder)
        self.state.mkdir(parents=True, exist_ok=True)
        note = {"kind": self.ros.kind, "folder": str(self.folder)}
        marker.write_text(json.dumps(note), encoding="utf-8")
        if not works(self.python):
            command = [base_python(), "-m", "venv", self.folder]
            if self.ros.prefix is not None:
                command.insert(3, "--system-site-packages")
            run(command, self.env, ROOT)

    def _pip(self, *arguments: str | Path) -> None:
        options = ["--no-input", "--disable-pip-version-check"]
        constraints = ["-c", TOOLS / "constraints.txt"]
        command = [self.python, "-m", "pip", "install", *options, *constraints, *arguments]
        run(command, self.env, ROOT)

    def _ros(self, wheels: Path | None, build: Path) -> None:
        if wheels is not None:
            self._pip("-r", build, "-r", wheels)
            numpy = self._output("import numpy; print(numpy.get_include())")
            patch_include_paths(self.folder / "share", sysconfig.get_path("include"), numpy)
            return
        if not self.imports("rclpy"):
            message = (
                f"the sourced ROS 2 in {self.ros.prefix} cannot be imported by {base_python()} "
                f"({platform.python_version()}): name the Python that it was built for, for "
                "example `make PYTHON=/usr/bin/python3 demo`"
            )
            raise StopError(message)
        if not (self.ros.prefix / "share/rosidl_default_generators/package.xml").is_file():
            package = f"ros-{self.ros.distro}-rosidl-default-generators"
            message = f"the sourced ROS 2 cannot build messages: `sudo apt install {package}`"
            raise StopError(message)
        modules = "colcon_core, colcon_cmake, colcon_ros, colcon_defaults, catkin_pkg, em, lark"
        has_cmake = shutil.which("cmake", path=self.env["PATH"])
        if not (has_cmake and self.imports(modules)):
            self._pip("-r", build)

    def _build_messages(self) -> None:
        for pattern in (
            f".setup/build/{MESSAGES}",
            f"include/{MESSAGES}",
            f"share/{MESSAGES}",
            f"lib/lib{MESSAGES}__*",
            f"lib/python3.*/site-packages/{MESSAGES}*",
        ):
            for path in self.folder.glob(pattern):
                remove(path)
        self.colcon(MESSAGES)

    def _install_package(self) -> None:
        remove(self.state / "build" / PACKAGE)
        remove(self.folder / "share" / PACKAGE)
        # An unchanged module stays as it is: its compiled kernels are cached by its time.
        for installed in self.folder.glob(f"lib/python3.*/site-packages/{PACKAGE}"):
            for path in walk(installed):
                source = ROOT / PACKAGE / path.relative_to(installed)
                if not source.is_file() or source.read_bytes() != path.read_bytes():
                    path.unlink()
        self.colcon(PACKAGE)
        self._link_program()

    def colcon(self, *packages: str, base_paths: Sequence[str | Path] = (".", MESSAGES)) -> None:
        """Build packages and install them into the environment.

        Raises:
            StopError: it failed.
        """
        start = "from colcon_core.command import main; raise SystemExit(main())"
        python = f"-DPython3_EXECUTABLE={self.python}"
        cmake = [python, f"-DPYTHON_EXECUTABLE={self.python}", "-DBUILD_TESTING=OFF"]
        if shutil.which("ninja", path=self.env["PATH"]):
            cmake.append("-GNinja")
        command = [self.python, "-c", start, "--log-base", self.state / "colcon", "build"]
        command += ["--merge-install", "--install-base", self.folder]
        command += ["--build-base", self.state / "build"]
        command += ["--base-paths", *base_paths, "--packages-select", *packages]
        command += ["--cmake-args", *cmake]
        run(command, self.env, ROOT)

    def _link_program(self) -> None:
        """Put `deeplab-miou` on the environment's PATH, with nothing to source."""
        link = self.folder / "bin" / "deeplab-miou"
        target = Path("..", "lib", PACKAGE, "deeplab-miou")
        link.unlink(missing_ok=True)
        if self.ros.prefix is None:
            link.symlink_to(target)
            return
        paths = {**self._prepended()}
        del paths["PATH"], paths["CMAKE_PREFIX_PATH"]
        exports = [f'export {name}="{path}${{{name}:+:${name}}}"' for name, path in paths.items()]
        last = f'exec "{self.folder}/lib/{PACKAGE}/deeplab-miou" "$@"'
        link.write_text("\n".join(["#!/bin/sh", *exports, last, ""]), encoding="utf-8")
        link.chmod(0o755)

    def imports(self, modules: str) -> bool:
        """Tell whether modules, separated by commas, can be imported in the environment."""
        command = [str(self.python), "-c", f"import {modules}"]
        return (
            subprocess.run(command, env=self.env, capture_output=True, check=False).returncode == 0
        )

    def _output(self, code: str) -> str:
        command = [str(self.python), "-c", code]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=True)
        return done.stdout.strip()


def works(python: Path) -> bool:
    """Tell whether an interpreter is there, runs and has pip."""
    if not python.exists():
        return False
    command = [str(python), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def base_python() -> str:
    """Return the interpreter outside any virtual environment that runs this script."""
    return getattr(sys, "_base_executable", None) or sys.executable


def remove(path: Path) -> None:
    """Remove a file or a folder that may not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def patch_include_paths(share: Path, python: str, numpy: str) -> int:
    """Replace the build machine's include paths in CMake files; return how many files changed."""
    changed = 0
    for path in share.rglob("*.cmake"):
        text = path.read_text(encoding="utf-8")
        patched = BUILD_NUMPY.sub(lambda _: numpy, BUILD_PYTHON.sub(lambda _: python, text))
        if patched != text:
            path.write_text(patched, encoding="utf-8")
            changed += 1
    return changed


def choose_folder(root: Path, kind: str) -> Path:
    """Return `.venv` if it is free or of this kind, else the folder named after the kind."""
    first = root / ".venv"
    marker = first / ".setup" / "environment.json"
    if not first.exists():
        return first
    if marker.exists():
        owner = json.loads(marker.read_text(encoding="utf-8"))["kind"]
    else:
        owner = WHEEL_DISTROS[0]  # made by hand: taken for the default kind, never cleared
    return first if owner == kind else root / f".venv-{kind}"


def check_machine(ros: Ros) -> None:
    """Check what no step can install.

    Raises:
        StopError: something is missing.
    """
    major, minor = sys.version_info[:2]
    if (major, minor) > NEWEST_PYTHON:
        message = (
            f"Python {major}.{minor} is too new for the pinned packages, 3.10-3.14 is needed: "
            "install one and name it, for example `make PYTHON=python3.14 demo`"
        )
        raise StopError(message)
    missing = {}
    if importlib.util.find_spec("ensurepip") is None:
        missing["Python's venv module"] = f"python{major}.{minor}-venv"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing["Python's headers"] = f"python{major}.{minor}-dev"
    for variable, names, language in (
        ("CC", ("cc", "gcc", "clang"), "C"),
        ("CXX", ("c++", "g++", "clang++"), "C++"),
    ):
        chosen = os.environ.get(variable, "").split()[:1]
        if not any(shutil.which(name) for name in chosen or names):
            missing[f"a {language} compiler"] = "g++"
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        message = f"this machine lacks {', '.join(missing)}: `sudo apt install {packages}`"
        raise StopError(message)
    if ros.prefix is None:
        check_wheels_fit()


def check_wheels_fit() -> None:
    """Check that ROS 2 wheels exist for this machine.

    Raises:
        StopError: they do not.
    """
    machine = platform.machine()
    library, version = platform.libc_ver()
    digits = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if sys.platform != "linux" or machine != "x86_64" or library != "glibc":
        found = f"{sys.platform} {machine} {library}".strip()
    elif digits < OLDEST_GLIBC:
        found = f"glibc {version}"
    else:
        return
    message = (
        f"ROS 2 wheels exist for x86_64 Linux with glibc >= 2.28, this is {found}: "
        "install ROS 2 (docs/install.md), source its setup.bash and run again"
    )
    raise StopError(message)


def set_up(*, dev: bool) -> Environment:
    """Bring the environment up to date.

    Raises:
        StopError: it could not be done; the message says why.
    """
    started = time.monotonic()
    ros = find_ros(dict(os.environ))
    # Two commands started together: the second waits, then finds everything done.
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up of this clone is running: waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        environment = Environment(choose_folder(ROOT, ros.kind), ros, dict(os.environ))
        steps = environment.steps(dev=dev)
        pending = environment.runner.pending(steps)
        if not pending:
            seconds = time.monotonic() - started
            print(f"{environment.folder.name} ({ros}) is up to date ({seconds:.1f} s)", flush=True)
            return environment
        print(f"Setting up {environment.folder.name}: {ros}, Python {platform.python_version()}")
        check_machine(ros)
        # Without the environment itself no later step's stamp holds.
        environment.runner.run(steps if pending[0].name == "venv" else pending)
        print(f"Set-up finished in {time.monotonic() - started:.0f} s.", flush=True)
    finally:
        os.close(lock)
    return environment


def become(command: list[str], environment: Environment) -> None:
    """Replace this program by a command in the environment.

    Raises:
        StopError: there is no such command.
    """
    program = shutil.which(command[0], path=environment.env["PATH"])
    if program is None:
        message = f"{command[0]} is neither in {environment.folder}/bin nor on PATH"
        raise StopError(message)
    os.chdir(ROOT)
    os.execve(program, command, environment.env)  # noqa: S606  (nothing is left to wait for)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Set up the project's environment.")
    parser.add_argument("--dev", action="store_true", help="with the tools for tests and lint")
    parser.add_argument("command", nargs="*", help="run this in the environment afterwards")
    options = parser.parse_args()
    try:
        environment = set_up(dev=options.dev)
        if options.command:
            become(options.command, environment)
    except StopError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: the set-up could not go on: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted: run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
