"""Workers on a Ray cluster: work for whoever is idle, and again where a worker was lost."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deeplab_miou.errors import BagError, ConfigurationError, DeeplabMiouError
from deeplab_miou.offline.cluster.connection import connect, reachable, room, shortened
from deeplab_miou.offline.cluster.worker import ClusterWorker, Crash, Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from deeplab_miou.options.offline import OfflineOptions

ATTEMPTS = 3
_PATIENCE_S = 60.0


@dataclass(frozen=True, eq=False)
class Task:
    """A call of a worker's method.

    Attributes:
        bag: name of the bag that it is about.
        method: of `ClusterWorker`.
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
    """A worker raised an unexpected exception; the message has its traceback."""


class Pool:
    """One worker for each GPU, or for a share of the cores where there is none.

    A context manager: workers exist in between.

    Args:
        address: of the cluster; empty for the one that ``RAY_ADDRESS`` names or that runs on this
            machine, else one that is started here; ``local`` for the latter in any case.
        options: how to evaluate.
        say: called with a line that the user should see.

    Attributes:
        size: how many workers the cluster has room for.

    Raises:
        ConfigurationError: Ray is missing, or there is no cluster (on entering the context).
    """

    def __init__(self, address: str, options: OfflineOptions, say: Callable[[str], None]) -> None:
        self.size = 0
        self._address = address
        self._options = reachable(options)
        self._say = say
        self._ray: Any = None
        self._idle: list[Any] = []
        self._proven: set[Any] = set()
        self._busy: dict[Any, tuple[Any, Task]] = {}
        self._failed_starts = 0
        self._facts: Facts | None = None

    def __enter__(self) -> Self:
        """Connect and start the workers."""
        self._ray = connect(self._address)
        try:
            self.size, self._share = room(self._ray, self._options.engine)
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
        """Wait for the first worker and return its facts.

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
        """Wait until all workers are ready, as measurements require.

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

    def _start(self) -> None:
        worker = self._ray.remote(ClusterWorker).options(**self._share).remote(self._options)
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
                "the workers would score differently: "
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
            self._say(f"{what}; its part is repeated")
            return [task]
        if isinstance(error, WorkerCrashError):
            raise error
        follow(task, BagError(f"{task.lost} workers were lost with it; the last: {_short(error)}"))
        return []


def _short(error: Exception) -> str:
    """Return an error in one line; of a crash the end, where what was raised stands."""
    return shortened(error, from_end=isinstance(error, WorkerCrashError))
