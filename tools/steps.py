"""Run the steps of a set-up: skip what is up to date, show progress, keep logs.

A step is done when its stamp file holds the step's key, a hash of everything that it depends on.
The stamp is removed before a step runs and written after it, so an interrupted step runs again.
"""

# ruff: noqa: INP001, S603, T201  (a script's module: it prints and starts programs)
from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

HEARTBEAT_S = 20.0
SKIPPED_NAMES = {"__pycache__", ".pytest_cache"}
# What a log says -> what to tell; the first match wins.
DIAGNOSES = (
    (r"No space left on device|Errno 28", "the disk is full: free some space and run again"),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "the package index's certificate was refused: check the clock, proxy or pip's `cert`",
    ),
    (
        (
            r"NewConnectionError|name resolution|Name or service not known|Network is unreachable"
            r"|TimeoutError|ProxyError|Connection refused|IncompleteRead"
        ),
        "no connection to the Python package index: check network, proxy or pip's configuration",
    ),
    (
        r"No matching distribution found for (?P<what>\S+)",
        "the package index offers no {what} for this Python and machine",
    ),
    (r'configuration file provided by\s+"(?P<what>[^"]+)"', "CMake did not find {what}"),
    (r"fatal error: Python\.h", "Python.h is missing: `sudo apt install python3-dev`"),
    (
        r"(?:internal compiler error|Killed signal|fatal error: Killed)",
        "the compiler ran out of memory: close programs and run again",
    ),
)


class StopError(Exception):
    """The set-up cannot go on; the message is one line that says what is missing and what to do."""


@dataclass(frozen=True)
class Step:
    """One step: `action` runs when the stamp does not hold `key` or a product is missing."""

    name: str
    title: str
    key: str
    action: Callable[[], object]
    products: tuple[Path, ...] = ()


def digest(*parts: str | Path) -> str:
    """Return a hash of strings and of the contents of files and folders.

    Raises:
        StopError: a path does not exist.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode() + b"\0")
            continue
        if not part.exists():
            message = f"{part} is missing: the clone is incomplete, `git status` shows what is gone"
            raise StopError(message)
        for path in [part] if part.is_file() else walk(part):
            total.update(f"{path.relative_to(part.parent)}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def walk(folder: Path) -> Iterable[Path]:
    """Yield the files below a folder in a fixed order, caches left out."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not SKIPPED_NAMES.intersection(relative.parts):
            yield path


def diagnose(output: str) -> str:
    """Return one line that says why a command failed, from what it printed."""
    for pattern, advice in DIAGNOSES:
        found = re.search(pattern, output)
        if found:
            return advice.format(**found.groupdict())
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (errors or lines or ["it printed nothing"])[-1][:200]


class Runner:
    """Runs steps in order, with stamps and logs in one folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._step: Step | None = None
        self._started = 0.0

    def pending(self, steps: Iterable[Step]) -> list[Step]:
        """Return the steps that have to run."""
        return [step for step in steps if not self._done(step)]

    def run(self, steps: Sequence[Step]) -> None:
        """Run the steps, one line each.

        Raises:
            StopError: a step failed; nothing after it has run.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        for number, step in enumerate(steps, 1):
            self._step, self._started = step, time.monotonic()
            print(f"[{number}/{len(steps)}] {step.title} ...", flush=True)
            self._stamp(step).unlink(missing_ok=True)
            step.action()
            missing = [path for path in step.products if not path.exists()]
            if missing:
                message = f"{step.title}: done without an error, but {missing[0]} is not there"
                raise StopError(message)
            self.state.mkdir(parents=True, exist_ok=True)
            self._stamp(step).write_text(step.key, encoding="utf-8")
            print(f"      done in {time.monotonic() - self._started:.1f} s", flush=True)

    def command(self, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> None:
        """Run a command of the current step, its output going to the step's log.

        Raises:
            StopError: the command failed; the message names the reason and the log.
        """
        name = self._step.name if self._step else "command"
        self.state.mkdir(parents=True, exist_ok=True)
        log = self.state / f"{name}.log"
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as sink:
            sink.write(f"$ {' '.join(map(str, command))}\n".encode())
            sink.flush()
            written = sink.tell()
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
            )
            try:
                code = self._watch(process, log, written)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if code:
            with log.open("rb") as source:
                source.seek(start)
                reason = diagnose(source.read().decode(errors="replace"))
            title = self._step.title if self._step else name
            message = f"{title} failed: {reason} (all of its output: {log})"
            raise StopError(message)

    def _watch(self, process: subprocess.Popen[bytes], log: Path, start: int) -> int:
        """Wait for the command and show that it lives, by what it wrote from `start` on."""
        terminal = sys.stdout.isatty()
        shown = time.monotonic()
        while True:
            try:
                code = process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                pass
            else:
                if terminal:
                    print("\r\033[K", end="", flush=True)
                return code
            now = time.monotonic()
            if terminal or now - shown > HEARTBEAT_S:
                shown = now
                text = f"      {now - self._started:.0f} s: {last_line(log, start)}".rstrip(": ")
                print(f"\r\033[K{text[:78]}" if terminal else text[:110], end="", flush=True)
                print("" if terminal else "\n", end="", flush=True)

    def _done(self, step: Step) -> bool:
        stamp = self._stamp(step)
        if not all(path.exists() for path in step.products):
            return False
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == step.key

    def _stamp(self, step: Step) -> Path:
        return self.state / f"{step.name}.done"


def last_line(log: Path, start: int) -> str:
    """Return the last line of a growing file after an offset; empty if there is none yet."""
    with log.open("rb") as source:
        # pip names all packages in one line.
        source.seek(max(start, log.stat().st_size - (1 << 16)))
        lines = source.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
