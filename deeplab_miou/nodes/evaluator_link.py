"""What a paced replay has to do with its evaluators and with the publisher of the result."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Account, FrameScore, MeanIoU
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.nodes.conversions import stream_counts
from deeplab_miou.pacing.accounts import Done, EvaluatorAccount
from deeplab_miou.pacing.flow import FlowControl, StallError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from rclpy.task import Future
    from rclpy.topic_endpoint_info import TopicEndpointInfo

# An evaluator needs both of its streams: without the second no frame would ever be scored.
STREAMS = 2
_POLL_S = 0.02
_FLUSH_AGAIN_S = 2.0
_CALL_AGAIN_S = 5.0


class LinkError(DeeplabMiouError):
    """A node that the replay needs is not there or does not do its part."""


class TriggerClient:
    """Calls one `std_srvs/srv/Trigger` service that may be called twice without harm.

    Args:
        node: the node that calls; somebody else spins it.
        service: name of the service.
    """

    def __init__(self, node: Node, service: str) -> None:
        self._service = service
        self._client = node.create_client(Trigger, service)

    def call(self, timeout_s: float) -> str:
        """Return the message of a successful call.

        Raises:
            LinkError: nobody offers the service, it gives no answer in time, or reports failure.
        """
        deadline_s = time.monotonic() + timeout_s
        if not self._client.wait_for_service(timeout_s):
            raise LinkError(f"service {self._service} is not there after {timeout_s:g} s")
        answers: SimpleQueue[Future] = SimpleQueue()
        while True:
            self._client.call_async(Trigger.Request()).add_done_callback(answers.put)
            remaining_s = max(0.0, deadline_s - time.monotonic())
            try:
                response = answers.get(timeout=min(remaining_s, _CALL_AGAIN_S)).result()
                break
            except Empty:
                # An answer is lost if the server does not know yet where to send it.
                if remaining_s <= _CALL_AGAIN_S:
                    problem = f"service {self._service} gave no answer within {timeout_s:g} s"
                    raise LinkError(problem) from None
        if not response.success:
            raise LinkError(f"service {self._service} failed: {response.message}")
        return str(response.message)


class EvaluatorLinks:
    """Follows evaluators through their accounts and outcomes; drives a `FlowControl`.

    Args:
        node: the node that plays; somebody else spins it.
        evaluators: fully qualified names of the evaluators.
        in_flight: window of the flow control, in messages.
        stall_timeout_s: seconds without progress after which an evaluator is given up.

    Attributes:
        names: the evaluators.
    """

    def __init__(
        self, node: Node, evaluators: Sequence[str], *, in_flight: int, stall_timeout_s: float
    ) -> None:
        self._node = node
        self.names = evaluators
        self._in_flight = in_flight
        self._stall_timeout_s = stall_timeout_s
        self._early: dict[str, EvaluatorAccount] = {}
        self._lock = threading.Lock()
        self._flow: FlowControl | None = None
        self._flushes = [TriggerClient(node, f"{name}/flush") for name in evaluators]
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
        for name in self.names:
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
            for flush in self._flushes:
                flush.call(self._stall_timeout_s)
            if flow.idle(_FLUSH_AGAIN_S):
                return
            if time.monotonic() >= deadline_s:
                told = "; ".join(f"{name}: {flow.describe(name)}" for name in self.names)
                raise StallError(f"frames still wait after flushing: {told}")

    def gone(self) -> list[str]:
        """Return the evaluators that are not in the graph (any more)."""
        return sorted(set(self.names) - set(self._nodes()))

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
            state = EvaluatorAccount(
                message.run_id,
                message.reset_count,
                stream_counts(message.images),
                stream_counts(message.labels),
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
                self._flow.outcome(name, message.stream, message.run_id, message.reset_count)

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
        self._done = Done(0, 0, 0)
        self._save = TriggerClient(node, f"{name}/save_report")
        self._results = node.create_subscription(
            MeanIoU, f"{name}/result", self._take, QoSProfile(depth=10)
        )

    def connect(self, evaluators: Sequence[str], timeout_s: float) -> None:
        """Wait until the publisher can be heard, and listens to evaluators.

        Args:
            evaluators: those whose frames it is expected to count.
            timeout_s: how long to wait.

        Raises:
            LinkError: it is not ready in time; says what it lacks.
        """
        deadline_s = time.monotonic() + timeout_s
        while lack := self._missing(evaluators):
            if time.monotonic() >= deadline_s:
                raise LinkError(f"publisher {self.name} is not ready after {timeout_s:g} s: {lack}")
            time.sleep(_POLL_S)

    def _missing(self, evaluators: Sequence[str]) -> str:
        if not self._results.get_publisher_count():
            return f"nobody publishes {self.name}/result"
        for topic in (f"{name}/{base}" for name in evaluators for base in ("confusion", "frame")):
            endpoints = self._node.get_subscriptions_info_by_topic(topic)
            if self.name not in map(_node_of, endpoints):
                return f"it does not subscribe to {topic}; is it active?"
        return ""

    def wait_for(self, totals: Done, timeout_s: float) -> None:
        """Wait until the result holds all that the evaluators have done.

        Raises:
            LinkError: it does not in time.
        """

        def complete() -> bool:
            return all(done >= total for done, total in zip(self._done, totals, strict=True))

        with self._changed:
            if not self._changed.wait_for(complete, timeout_s):
                raise LinkError(
                    f"publisher {self.name} shows {self._done.frames} frames on {self.name}/result "
                    f"after {timeout_s:g} s, of {self._done.images} images and "
                    f"{self._done.labels} labels; the evaluators have scored {totals.frames}, of "
                    f"{totals.images} and {totals.labels}"
                )

    def save_report(self, timeout_s: float) -> str:
        """Have the report written; return what the publisher says of it.

        Raises:
            LinkError: it does not answer or cannot.
        """
        return self._save.call(timeout_s)

    def _take(self, message: MeanIoU) -> None:
        with self._changed:
            self._done = Done(
                message.frames,
                stream_counts(message.images).ended,
                stream_counts(message.labels).ended,
            )
            self._changed.notify_all()


def _node_of(endpoint: TopicEndpointInfo) -> str:
    return qualified(endpoint.node_namespace, endpoint.node_name)


def qualified(namespace: str, name: str) -> str:
    """Return the fully qualified name of a node; a name that is one already is kept."""
    return name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"
