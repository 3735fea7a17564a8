"""Real nodes in processes of their own, over real DDS, each test in a domain of its own.

`ros_process` starts a node and ends it with the test, `graph` is a client that talks to nodes:
it subscribes, publishes, calls services and drives lifecycles. Everything waits for events with
a deadline; nothing sleeps for a fixed time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest
import yaml

_TIMEOUT_S = 60.0
_POLL_S = 0.02
_REPEAT_S = 0.05
# Of a process, when a test fails; what it says first is rarely why.
_SHOWN_LINES = 100
_running = []


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.graph)


def _is_quiet(domain):
    """Tell whether nobody uses the ports of a domain (RTPS 2.5, 9.6.2.3)."""
    with contextlib.ExitStack() as stack:
        for port in (7400 + 250 * domain, 7410 + 250 * domain):
            endpoint = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                endpoint.bind(("", port))
            except OSError:
                return False
    return True


@pytest.fixture
def domain(monkeypatch):
    """A ROS_DOMAIN_ID that nobody else uses while the test runs; set in the environment."""
    start = os.getpid() * 7
    for offset in range(100):
        # Up to 101 the ports stay below Linux's ephemeral range.
        candidate = 1 + (start + offset) % 100
        path = Path(tempfile.gettempdir()) / f"deeplab_miou_{os.getuid()}_{candidate}.lock"
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if not _is_quiet(candidate):
                continue
            monkeypatch.setenv("ROS_DOMAIN_ID", str(candidate))
            monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            yield candidate
            return
    pytest.fail("all ROS domains from 1 to 100 are in use")


class RosProcess:
    """One process and all that it wrote."""

    def __init__(self, module, arguments, log, environment):
        self._log = log
        # Another working directory, so that nothing is written into the repository.
        search = os.environ.get("PYTHONPATH", "")
        search = os.pathsep.join(str(Path(p).resolve()) for p in search.split(os.pathsep) if p)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": search, **environment},
                cwd=log.parent,
                start_new_session=True,
            )
        self.name = module
        self.awaited = False
        self.pid = self._process.pid

    @property
    def output(self):
        return self._log.read_text(errors="replace")

    @property
    def tail(self):
        """What to show of its output."""
        lines = self.output.splitlines()
        left_out = max(0, len(lines) - _SHOWN_LINES)
        head = [f"({left_out} lines left out of {self._log})"] if left_out else []
        status = "still running" if self.returncode is None else f"exit status {self.returncode}"
        return "\n".join([f"== {self.name}, {status}:", *head, *lines[left_out:]])

    @property
    def returncode(self):
        return self._process.poll()

    def lines(self, text):
        return [line for line in self.output.splitlines() if text in line]

    def wait_for_output(self, text, timeout_s=_TIMEOUT_S):
        """Return the first line that contains a text."""
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := self.lines(text):
                return found[0]
            if self.returncode is not None and not self.lines(text):
                break
            time.sleep(_POLL_S)
        raise AssertionError(f"no {text!r} from {self.name} within {timeout_s} s")

    def send(self, number):
        self._process.send_signal(number)

    def wait(self, timeout_s=_TIMEOUT_S):
        """Return the exit status; from then on the process may have ended with any."""
        self.awaited = True
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout_s} s") from None

    def stop(self, number=signal.SIGINT, timeout_s=_TIMEOUT_S):
        """Send a signal; return exit status and seconds until the end."""
        began = time.monotonic()
        self.send(number)
        return self.wait(timeout_s), time.monotonic() - began

    def kill(self):
        if self.returncode is None:
            self._process.kill()
        self._process.wait()


@pytest.fixture
def ros_process(domain, tmp_path):  # noqa: ARG001  the domain is in the environment
    """Start ``python -m MODULE``; parameters by keyword, ended with the test."""
    before = len(_running)

    def start(module, *arguments, name=None, parameters=None, remap=None, environment=None):
        number = len(_running)
        ros = []
        if parameters:
            path = tmp_path / f"parameters_{number}.yaml"
            path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
            ros += ["--params-file", str(path)]
        for source, target in {**(remap or {}), **({"__node": name} if name else {})}.items():
            ros += ["-r", f"{source}:={target}"]
        process = RosProcess(
            module,
            [*arguments, *(["--ros-args", *ros] if ros else [])],
            tmp_path / f"process_{number}.log",
            environment or {},
        )
        _running.append(process)
        return process

    yield start
    for process in _running[before:]:
        shown = process.tail
        process.kill()
        print(shown)  # noqa: T201  when the test failed
    del _running[before:]


@pytest.fixture
def start_evaluator(ros_process):
    """Start an evaluator of predictions from a topic; unless told otherwise it has long queues."""

    def start(module="deeplab_miou.nodes.evaluator", *, environment=None, **parameters):
        given = {"source": "topic", "labels": "cityscapes_train_ids", "publish_period": 0.05}
        given |= {"queue_size": 1000, "input_depth": 1000, **parameters}
        return ros_process(module, parameters=given, environment=environment)

    return start


@pytest.fixture
def start_publisher(ros_process):
    """Start a publisher that publishes what it has soon."""

    def start(*, name=None, **parameters):
        given = {"publish_period": 0.05, **parameters}
        return ros_process("deeplab_miou.nodes.publisher", name=name, parameters=given)

    return start


class Inbox:
    """Messages that arrived on one topic, oldest first."""

    def __init__(self, client, topic):
        self._client = client
        self.topic = topic
        self.messages = []
        self.subscription = None

    def close(self):
        """Unsubscribe."""
        self._client.node.destroy_subscription(self.subscription)

    def wait(self, predicate=lambda _: True, timeout_s=_TIMEOUT_S, *, after=None):
        """Return the first message, of those that came and will come, that a predicate takes.

        With `after`, a message of the inbox, only what came later is looked at: whatever a node
        says at first would else answer for what it says in the end.
        """
        __tracebackhide__ = True
        seen = 0
        if after is not None:
            seen = 1 + next(i for i, each in enumerate(self.messages) if each is after)

        def look():
            nonlocal seen
            while seen < len(self.messages):
                seen += 1
                if predicate(self.messages[seen - 1]):
                    return self.messages[seen - 1]
            return None

        return self._client.wait_until(
            look,
            timeout_s,
            lambda: (
                f"{len(self.messages)} messages on {self.topic}, the last: "
                + (str(self.messages[-1])[:2000] if self.messages else "none")
            ),
        )


class GraphClient:
    """A node in the test's own process."""

    def __init__(self, domain, name="test_client"):
        with warnings.catch_warnings():
            # What rclpy imports with the first message uses a deprecated module.
            warnings.simplefilter("ignore", DeprecationWarning)
            import rosidl_generator_py  # noqa: F401, PLC0415
        import rclpy  # noqa: PLC0415  the fixture skips where it is missing
        from rclpy.exceptions import InvalidHandle  # noqa: PLC0415
        from rclpy.executors import SingleThreadedExecutor  # noqa: PLC0415

        self._arrived = threading.Condition()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node(name, context=self._context)
        # One thread: several take messages of one topic out of order in a reentrant group, and
        # hand out what is ready again and again until one of them takes it.
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, args=(InvalidHandle,), daemon=True)
        self._thread.start()
        self._clients = {}

    def _spin(self, destroyed):
        while not self._closing.is_set():
            with contextlib.suppress(destroyed):
                self._executor.spin_once()

    def close(self):
        # Executor.shutdown takes the guard condition away from a thread that still spins.
        self._closing.set()
        self._executor.create_task(lambda: None)
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _notify(self, *_):
        with self._arrived:
            self._arrived.notify_all()

    def wait_until(self, condition, timeout_s=_TIMEOUT_S, explain=lambda: ""):
        """Return the first true value of a condition."""
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while not (value := condition()):
                for process in _running:
                    failed = (process.returncode or 0) > 0 and not process.awaited
                    assert not failed, f"{process.name} ended with {process.returncode}"
                if time.monotonic() > deadline:
                    raise AssertionError(f"nothing within {timeout_s} s; {explain()}")
                self._arrived.wait(_POLL_S)
        return value

    def repeat_until(self, action, condition, timeout_s=_TIMEOUT_S, period_s=_REPEAT_S):
        """Do something every so often; return the first true value of a condition."""
        __tracebackhide__ = True
        due_s = 0.0

        def step():
            nonlocal due_s
            if time.monotonic() >= due_s:
                action()
                due_s = time.monotonic() + period_s
            return condition()

        return self.wait_until(step, timeout_s)

    def subscribe(self, kind, topic, qos=10):
        """Collect the messages of a topic."""
        inbox = Inbox(self, topic)

        def take(message):
            with self._arrived:
                inbox.messages.append(message)
                self._arrived.notify_all()

        inbox.subscription = self.node.create_subscription(kind, topic, take, qos)
        return inbox

    def publisher(self, kind, topic, qos=10, subscribers=1):
        """Return a publisher that is connected to as many subscribers."""
        __tracebackhide__ = True
        publisher = self.node.create_publisher(kind, topic, qos)
        self.wait_until(
            lambda: publisher.get_subscription_count() >= subscribers,
            explain=lambda: f"{publisher.get_subscription_count()} subscribers of {topic}",
        )
        return publisher

    def call(self, kind, name, request=None, timeout_s=_TIMEOUT_S):
        """Call a service and return its response."""
        __tracebackhide__ = True
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
            self._introduce(name.rpartition("/")[0], timeout_s)
        client = self._clients[name]
        self.wait_until(client.service_is_ready, timeout_s, lambda: f"there is no service {name}")
        future = client.call_async(kind.Request() if request is None else request)
        future.add_done_callback(self._notify)
        self.wait_until(future.done, timeout_s, lambda: f"service {name} does not answer")
        return future.result()

    def _introduce(self, server, timeout_s):
        """See that a node knows the clients we have: rmw throws its answers to others away.

        A node hears of endpoints in the order they were made: what answers the newest client knows
        them all. That one may ask again, the others may not: to reset twice is not to reset once.
        """
        __tracebackhide__ = True
        from rcl_interfaces.srv import GetParameters  # noqa: PLC0415

        newest = self.node.create_client(GetParameters, f"{server}/get_parameters")
        self.wait_until(newest.service_is_ready, timeout_s, lambda: f"there is no node {server}")
        asked = []
        self.repeat_until(
            lambda: asked.append(newest.call_async(GetParameters.Request())),
            lambda: any(future.done() for future in asked),
            timeout_s,
            period_s=1.0,
        )
        self.node.destroy_client(newest)

    def state(self, node):
        """Return the label of a node's lifecycle state."""
        from lifecycle_msgs.srv import GetState  # noqa: PLC0415

        return self.call(GetState, f"{node}/get_state").current_state.label

    def transition(self, node, label):
        """Trigger ``configure``, ``activate``, …; return whether it succeeded."""
        from lifecycle_msgs.srv import ChangeState  # noqa: PLC0415

        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, f"{node}/change_state", request).success

    def bring_up(self, node):
        """Configure and activate a node that then knows all publishers that we have made so far.

        Those that it discovers while it runs come to it at any time, on a busy machine late.
        """
        assert self.transition(node, "configure")
        assert self.transition(node, "activate")

    def wait_for_state(self, node, label, timeout_s=_TIMEOUT_S):
        self.wait_until(
            lambda: self.state(node) == label, timeout_s, lambda: f"{node} is {self.state(node)}"
        )

    def set_parameter(self, node, name, value):
        """Set a parameter; return the reason of a refusal, empty if it was taken."""
        from rcl_interfaces.srv import SetParameters  # noqa: PLC0415
        from rclpy.parameter import Parameter  # noqa: PLC0415

        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        result = self.call(SetParameters, f"{node}/set_parameters", request).results[0]
        return "" if result.successful else result.reason or "refused"


@pytest.fixture
def graph(domain):
    """A client in the test's domain."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    client = GraphClient(domain)
    yield client
    client.close()


@pytest.fixture
def stranger(domain):
    """Another client, which may publish a topic with another type than the first."""
    client = GraphClient(domain, "stranger")
    yield client
    client.close()
