"""Workers on a Ray cluster: work for whoever is idle, and again where a worker was lost."""

from __future__ import annotations

import importlib
import logging
import os
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deeplab_miou.errors import BagError, ConfigurationError, DeeplabMiouError
from deeplab_miou.offline.cluster.worker import Crash, Facts, Worker
from deeplab_miou.paths import user_path
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from deeplab_miou.options.offline import OfflineOptions

ATTEMPTS = 3
_LONGEST_REASON = 200
_PATIENCE_S = 60.0


@dataclass(frozen=True, eq=False)
class Task:
    """A call of a worker's method.

    Attributes:
        bag: name of the bag that it is about.
        method: of `Worker`.
        arguments: of the method.
        part: which section, where it is about one.
        lost: workers that were lost with it.
    """

    bag: str
    method: str
    arguments: tuple[object, ...] = ()
    part: int = 0
    lost: int = 0


_PREPARE = Task("", "prepare")


class WorkerCrashError(RuntimeError):
    """A worker raised what nobody expects; the message has its traceback."""


class Pool:
    """One worker for each GPU, or for a share of the cores where there is none.

    A context manager: workers exist in between.

    Args:
        address: of the cluster; empty for the one that ``RAY_ADDRESS`` names or that runs on this
            machine, else one that is started here; ``local`` for the latter in any case.
        options: how to evaluate.
        say: told in a line what the user should know.

    Attributes:
        size: how many workers the cluster has room for.

    Raises:
        ConfigurationError: Ray is missing, or there is no cluster (on entering the context).
    """

    def __init__(self, address: str, options: OfflineOptions, say: Callable[[str], None]) -> None:
        self.size = 0
        self._address = address
        self._options = _reachable(options)
        self._say = say
        self._ray: Any = None
        self._idle: list[Any] = []
        self._proven: set[Any] = set()
        self._busy: dict[Any, tuple[Any, Task]] = {}
        self._failed_starts = 0
        self._facts: Facts | None = None

    def __enter__(self) -> Self:
        """Connect and start the workers."""
        self._ray = _import_ray()
        # Whoever starts a cluster for one command has not been asked about sending statistics.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self._ray.init(
                address=self._address or None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise ConfigurationError(
                f"no Ray cluster answers at {self._address or 'this machine'!r} "
                f"({_short(error)}): give the address that `ray start --head` prints; if the "
                "cluster asks for a token, set RAY_AUTH_MODE=token"
            ) from None
        try:
            self.size, self._share = self._room()
            for _ in range(self.size):
                self._start()
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End the workers, and the cluster if it was started here."""
        self._ray.shutdown()

    def facts(self) -> Facts:
        """Wait for the first worker and return what it tells.

        Raises:
            ConfigurationError: checkpoint, label map or device cannot be used.
            DeeplabMiouError: no worker starts.
        """
        while self._facts is None:
            ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_PATIENCE_S)
            if ready:
                self._collect(lambda _task, _value: ())
            else:
                self._say("still waiting for a worker to start; is the Ray cluster busy?")
        return self._facts

    def wait_for_all(self) -> None:
        """Wait until all workers are ready, as whoever measures them must.

        Raises:
            DeeplabMiouError: as `facts`.
        """
        while self._busy:
            self._collect(lambda _task, _value: ())

    def run(self, tasks: Sequence[Task], take: Callable[[Task, object], Sequence[Task]]) -> None:
        """Do tasks and those that follow from them.

        What follows is done first, so that few bags are begun at a time. What fails for good ends
        its bag: nothing more is done of it.

        Args:
            tasks: in order.
            take: given a task and its value, or the error that ended it; returns what follows.

        Raises:
            DeeplabMiouError: no worker starts any more.
            WorkerCrashError: a programming error in a worker.
        """
        waiting = deque(tasks)

        def follow(task: Task, value: object) -> Sequence[Task]:
            if isinstance(value, DeeplabMiouError):
                rest = [each for each in waiting if each.bag != task.bag]
                waiting.clear()
                waiting.extend(rest)
            waiting.extendleft(reversed(take(task, value)))
            return ()

        while waiting or any(task is not _PREPARE for _, task in self._busy.values()):
            while waiting and self._idle:
                self._give(self._idle.pop(), waiting.popleft())
            for task in self._collect(follow):
                waiting.appendleft(task)

    def _room(self) -> tuple[int, dict[str, float]]:
        """Return how many workers there is room for, and what each takes."""
        resources = self._ray.cluster_resources()
        engine = self._options.engine
        cores = max(engine.threads, 1)
        gpus = int(resources.get("GPU", 0))
        has_network = engine.source == "network"
        if has_network and engine.device != "cpu" and gpus:
            return gpus, {"num_gpus": 1, "num_cpus": 1}
        if has_network and engine.device.startswith("cuda"):
            raise ConfigurationError(
                f"device is {engine.device}, but the Ray cluster has no GPU: start its nodes with "
                "--num-gpus, or choose --device cpu"
            )
        return max(int(resources.get("CPU", 1)) // cores, 1), {"num_cpus": cores}

    def _start(self) -> None:
        worker = self._ray.remote(Worker).options(**self._share).remote(self._options)
        self._give(worker, _PREPARE)

    def _give(self, worker: Any, task: Task) -> None:  # noqa: ANN401  (Ray's handle)
        ref = getattr(worker, task.method).remote(*task.arguments)
        self._busy[ref] = (worker, task)

    def _collect(self, follow: Callable[[Task, object], Sequence[Task]]) -> list[Task]:
        """Wait for a worker; return what has to be done again."""
        again: list[Task] = []
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        for ref in ready:
            worker, task = self._busy.pop(ref)
            try:
                value = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                again += self._lose(worker, task, error, follow)
                continue
            if isinstance(value, Crash):
                again += self._lose(worker, task, WorkerCrashError(value.text), follow)
                continue
            if task is _PREPARE:
                self._welcome(worker, value)
            else:
                follow(task, value)
            self._idle.append(worker)
        return again

    def _welcome(self, worker: Any, value: Facts | DeeplabMiouError) -> None:  # noqa: ANN401
        if isinstance(value, DeeplabMiouError):
            raise value
        self._failed_starts = 0
        self._proven.add(worker)
        if self._facts is None:
            self._facts = value
        elif self._facts.configuration != value.configuration:
            ours, theirs = (each.provenance for each in (self._facts, value))
            raise ConfigurationError(
                "the workers would not score alike: "
                + "; ".join(
                    f"{key} is {ours[key]} on one, {theirs[key]} on another"
                    for key in ours
                    if key in theirs
                    and key not in {"started", "ended"}
                    and ours[key] != theirs[key]
                )
            )

    def _lose(
        self,
        worker: Any,  # noqa: ANN401  (Ray's handle)
        task: Task,
        error: Exception,
        follow: Callable[[Task, object], Sequence[Task]],
    ) -> list[Task]:
        """Replace a worker; return its task if it is to be tried again."""
        self._ray.kill(worker)
        if worker in self._proven:
            self._proven.remove(worker)
            self._start()
        else:
            self._failed_starts += 1
            if self._failed_starts < ATTEMPTS:
                self._start()
            elif not self._idle and not self._busy:
                raise DeeplabMiouError(
                    f"no worker starts on the Ray cluster ({_short(error)}): are this package and "
                    "its requirements installed on every node?"
                )
        if task is _PREPARE:
            return []
        # Those that wait may have been lost with it, and would cost the next tasks an attempt each.
        while self._idle:
            self._give(self._idle.pop(), _PREPARE)
        task = replace(task, lost=task.lost + 1)
        what = f"{task.bag}: a worker was lost ({_short(error)})"
        if task.lost < ATTEMPTS:
            self._say(f"{what}; its part is done again")
            return [task]
        if isinstance(error, WorkerCrashError):
            raise error
        follow(task, BagError(f"{task.lost} workers were lost with it; the last: {_short(error)}"))
        return []


def _reachable(options: OfflineOptions) -> OfflineOptions:
    """Return options whose files other processes find too: they start in other folders."""
    engine = options.engine
    named: dict[str, Any] = {
        name: os.path.abspath(user_path(value))  # noqa: PTH100  (a link keeps its name)
        for name in ("checkpoint", "labels", "prediction_labels", "regions")
        if user_path(value := getattr(engine, name)).is_file()
    }
    tags = os.path.abspath(user_path(options.tags)) if options.tags else ""  # noqa: PTH100
    return replace(options, engine=replace(engine, **named), tags=tags)


def _import_ray() -> Any:  # noqa: ANN401  (an optional package)
    try:
        ray = importlib.import_module("ray")  # optional, and slow to import
    except ImportError:
        raise ConfigurationError(
            "--ray needs the package ray: pip install -r requirements-ray.txt"
        ) from None
    return ray


def _short(error: Exception) -> str:
    """Return the first lines of an error as one."""
    text = " ".join(printable(str(error)).split())
    if isinstance(error, WorkerCrashError):
        # What was raised stands at the end of a traceback.
        return text[-_LONGEST_REASON:]
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
