"""What a paced replay has to do with its evaluators and with the publisher of the result."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Account, FrameScore, MeanIoU
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.pacing import EvaluatorState, FlowControl, StallError, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from deeplab_miou_msgs.msg import StreamAccount
    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from rclpy.topic_endpoint_info import TopicEndpointInfo

# An evaluator needs both of its streams: without the second no frame would ever be scored.
STREAMS = 2
_POLL_S = 0.02
_FLUSH_AGAIN_S = 2.0


class LinkError(DeeplabMiouError):
    """A node that the replay needs is not there or does not do its part."""


class EvaluatorLinks:
    """Follows evaluators through their accounts and outcomes; drives a `FlowControl`.

    Args:
        node: the node that plays; somebody else spins it.
        evaluators: fully qualified names of the evaluators.
        in_flight: window of the flow control, in messages.
        stall_timeout_s: seconds without progress after which an evaluator is given up.
    """

    def __init__(
        self, node: Node, evaluators: Sequence[str], *, in_flight: int, stall_timeout_s: float
    ) -> None:
        self._node = node
        self._names = evaluators
        self._in_flight = in_flight
        self._stall_timeout_s = stall_timeout_s
        self._early: dict[str, EvaluatorState] = {}
        self._lock = threading.Lock()
        self._flow: FlowControl | None = None
        qos = QoSProfile(depth=1000)
        self._accounts = {
            name: node.create_subscription(
                Account, f"{name}/account", self._account_callback(name), qos
            )
            for name in evaluators
        }
        self._scores = {
            name: node.create_subscription(
                FrameScore, f"{name}/frame", self._score_callback(name), qos
            )
            for name in evaluators
        }

    def connect(self, publishers: Mapping[str, Publisher], timeout_s: float) -> FlowControl:
        """Wait until each evaluator subscribes to two topics and can be heard.

        Args:
            publishers: who publishes, by topic.
            timeout_s: how long to wait.

        Returns:
            The flow control of all evaluators.

        Raises:
            LinkError: an evaluator is not ready in time; says what it lacks.
        """
        deadline_s = time.monotonic() + timeout_s
        routes: dict[str, list[str]] = {}
        for name in self._names:
            while lack := self._missing(name, publishers, routes):
                if time.monotonic() >= deadline_s:
                    raise LinkError(f"evaluator {name} is not ready after {timeout_s:g} s: {lack}")
                time.sleep(_POLL_S)
        flow = FlowControl(routes, in_flight=self._in_flight, stall_timeout_s=self._stall_timeout_s)
        with self._lock:
            for name, state in self._early.items():
                flow.account(name, state)
            self._flow = flow
        return flow

    def finish(self, flow: FlowControl) -> None:
        """Wait until everything arrived, and let the evaluators finish what they hold.

        Raises:
            StallError: an evaluator does not get on.
            LinkError: an evaluator does not answer.
        """
        flow.wait_received()
        deadline_s = time.monotonic() + self._stall_timeout_s
        while True:
            for name in self._names:
                call_trigger(self._node, f"{name}/flush", self._stall_timeout_s)
            if flow.idle(_FLUSH_AGAIN_S):
                return
            if time.monotonic() >= deadline_s:
                told = "; ".join(f"{name}: {flow.describe(name)}" for name in self._names)
                raise StallError(f"frames still wait after flushing: {told}")

    def gone(self) -> list[str]:
        """Return the evaluators that are not in the graph (any more)."""
        return sorted(set(self._names) - set(self._nodes()))

    def _missing(
        self, name: str, publishers: Mapping[str, Publisher], routes: dict[str, list[str]]
    ) -> str:
        """Return what an evaluator lacks, nothing if it is ready; note its topics in `routes`."""
        nodes = sorted(self._nodes())
        if name not in nodes:
            return f"there is no such node; there are {', '.join(nodes)}"
        topics = []
        for topic, publisher in publishers.items():
            endpoints = self._node.get_subscriptions_info_by_topic(topic)
            its = [each for each in endpoints if _node_of(each) == name]
            # The graph tells who subscribes, the publisher how many it is really matched with.
            if its and publisher.get_subscription_count() >= len(endpoints):
                topics.append(topic)
                if its[0].qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT:
                    return (
                        f"it subscribes to {topic} with best effort, expected reliable: somebody "
                        "else publishes there too, or its parameters say so"
                    )
        if len(topics) < STREAMS:
            others = ", ".join(sorted(self._image_topics_of(name) - set(topics)))
            return (
                f"of the topics played it subscribes to {', '.join(topics) or 'none'}, expected "
                f"its images and its labels; it also subscribes to {others or 'no image topic'} "
                "(one that is not active subscribes to nothing)"
            )
        if not (
            self._accounts[name].get_publisher_count() and self._scores[name].get_publisher_count()
        ):
            return f"it does not publish {name}/account and {name}/frame"
        routes[name] = topics
        return ""

    def _image_topics_of(self, name: str) -> set[str]:
        namespace, _, base = name.rpartition("/")
        found = self._node.get_subscriber_names_and_types_by_node(base, namespace or "/")
        return {topic for topic, types in found if any("Image" in each for each in types)}

    def _nodes(self) -> Iterable[str]:
        for base, namespace in self._node.get_node_names_and_namespaces():
            yield qualified(namespace, base)

    def _account_callback(self, name: str) -> Callable[[Account], None]:
        def take(message: Account) -> None:
            state = EvaluatorState(
                message.run_id,
                message.reset_count,
                _stream_state(message.images),
                _stream_state(message.labels),
            )
            with self._lock:
                if self._flow is None:
                    self._early[name] = state
                    return
            self._flow.account(name, state)

        return take

    def _score_callback(self, name: str) -> Callable[[FrameScore], None]:
        def take(message: FrameScore) -> None:
            if self._flow is not None:
                self._flow.outcome(name, message.stream)

        return take


class PublisherLink:
    """The publisher of the result: knows when it has counted everything, lets it save its report.

    Args:
        node: the node that plays; somebody else spins it.
        name: fully qualified name of the publisher.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self.name = name
        self._changed = threading.Condition()
        self._frames = 0
        self._results = node.create_subscription(
            MeanIoU, f"{name}/result", self._take, QoSProfile(depth=10)
        )

    def connect(self, timeout_s: float) -> None:
        """Wait until the publisher can be heard.

        Raises:
            LinkError: it cannot in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._results.get_publisher_count():
            if time.monotonic() >= deadline_s:
                raise LinkError(f"publisher {self.name} is not there after {timeout_s:g} s")
            time.sleep(_POLL_S)

    def wait_for_frames(self, frames: int, timeout_s: float) -> None:
        """Wait until the result holds so many frames.

        Raises:
            LinkError: it does not in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._frames >= frames, timeout_s):
                raise LinkError(
                    f"publisher {self.name} shows {self._frames} frames on {self.name}/result "
                    f"after {timeout_s:g} s, the evaluators have scored {frames}"
                )

    def save_report(self, timeout_s: float) -> str:
        """Have the report written; return what the publisher says of it.

        Raises:
            LinkError: it does not answer or cannot.
        """
        return call_trigger(self._node, f"{self.name}/save_report", timeout_s)

    def _take(self, message: MeanIoU) -> None:
        with self._changed:
            self._frames = message.frames
            self._changed.notify_all()


def call_trigger(node: Node, service: str, timeout_s: float) -> str:
    """Call a `std_srvs/srv/Trigger` service and return its message.

    Raises:
        LinkError: nobody offers it, it does not answer in time, or it reports failure.
    """
    client = node.create_client(Trigger, service)
    try:
        began_s = time.monotonic()
        if not client.wait_for_service(timeout_s):
            raise LinkError(f"service {service} is not there after {timeout_s:g} s")
        answered = threading.Event()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(max(0.0, began_s + timeout_s - time.monotonic())):
            raise LinkError(f"service {service} gave no answer within {timeout_s:g} s")
        response = future.result()
        if not response.success:
            raise LinkError(f"service {service} failed: {response.message}")
        return str(response.message)
    finally:
        node.destroy_client(client)


def _node_of(endpoint: TopicEndpointInfo) -> str:
    return qualified(endpoint.node_namespace, endpoint.node_name)


def qualified(namespace: str, name: str) -> str:
    """Return the fully qualified name of a node; a name that is one already is kept."""
    return name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"


def _stream_state(account: StreamAccount) -> StreamState:
    dropped = dict(zip(account.reasons, account.dropped, strict=True))
    return StreamState(account.received, account.evaluated, account.waiting, dropped)
