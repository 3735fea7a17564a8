"""Run the steps of a set-up and skip what is up to date.

A step is done when its stamp file holds the step's key, a hash of everything that it depends on.
The stamp is removed before a step runs and written after it, so an interrupted step runs again.
"""

# ruff: noqa: INP001, S603, T201  (a script's module: it prints and starts programs)
from __future__ import annotations

import hashlib
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

SKIPPED_NAMES = {"__pycache__", ".pytest_cache"}


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


class Runner:
    """Runs steps in order, with their stamps in one folder."""

    def __init__(self, state: Path) -> None:
        self.state = state

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
            started = time.monotonic()
            print(f"[{number}/{len(steps)}] {step.title} ...", flush=True)
            self._stamp(step).unlink(missing_ok=True)
            step.action()
            missing = [path for path in step.products if not path.exists()]
            if missing:
                message = f"{step.title}: done without an error, but {missing[0]} is not there"
                raise StopError(message)
            self.state.mkdir(parents=True, exist_ok=True)
            self._stamp(step).write_text(step.key, encoding="utf-8")
            print(f"      done in {time.monotonic() - started:.1f} s", flush=True)

    def _done(self, step: Step) -> bool:
        stamp = self._stamp(step)
        if not all(path.exists() for path in step.products):
            return False
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == step.key

    def _stamp(self, step: Step) -> Path:
        return self.state / f"{step.name}.done"


def run(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> None:
    """Run a command, which prints what it does.

    Raises:
        StopError: it failed.
    """
    words = [str(word) for word in command]
    code = subprocess.run(words, stdin=subprocess.DEVNULL, env=env, cwd=cwd, check=False).returncode
    if code:
        message = f"`{' '.join(words[:4])} ...` ended with status {code}: see what it printed above"
        raise StopError(message)
