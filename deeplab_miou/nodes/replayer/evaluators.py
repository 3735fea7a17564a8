"""How a paced replay follows its evaluators."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Account
from rclpy.qos import QoSProfile, ReliabilityPolicy

from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.nodes.replayer.graph import LinkError, TriggerClient
from deeplab_miou.nodes.ros.conversions import stream_counts
from deeplab_miou.nodes.ros.node_names import node_of, qualified
from deeplab_miou.pacing.accounts import EvaluatorAccount
from deeplab_miou.pacing.flow import FlowControl, StallError
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rclpy.node import Node
    from rclpy.publisher import Publisher

# An evaluator needs both of its streams: without the second no frame would ever be scored.
_STREAMS = 2
_WARNING_PERIOD_S = 5.0
_POLL_S = 0.02
_CONNECTING_S = 5.0
_FLUSH_AGAIN_S = 2.0


class EvaluatorLinks:
    """Follows evaluators through their accounts; drives a `FlowControl`.

    An evaluator that sees us publish what it subscribes to, and listen to its account, drops no
    frame for a full queue any more, and says so in its account.

    Args:
        node: the node that plays; somebody else spins it.
        evaluators: fully qualified names of the evaluators.
        in_flight: most messages in transit to each of them.
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
        self._newest: dict[str, EvaluatorAccount] = {}
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

    def connect(self, publishers: Mapping[str, Publisher], timeout_s: float) -> FlowControl:
        """Wait until each evaluator subscribes to two topics and says that we pace it.

        Args:
            publishers: who publishes, by topic.
            timeout_s: how long to wait.

        Returns:
            The flow control of all evaluators.

        Raises:
            LinkError: an evaluator is not ready in time; the message says what is missing.
        """
        deadline_s = time.monotonic() + timeout_s
        routes: dict[str, list[str]] = {}
        for name in self.names:
            while lack := self._missing(name, publishers, routes):
                if time.monotonic() >= deadline_s:
                    raise LinkError(f"evaluator {name} is not ready after {timeout_s:g} s: {lack}")
                time.sleep(_POLL_S)
        with self._lock:
            self._flow = FlowControl(
                {name: (topics, self._newest[name]) for name, topics in routes.items()},
                in_flight=self._in_flight,
                stall_timeout_s=self._stall_timeout_s,
            )
        return self._flow

    def wait_for_listeners(self) -> None:
        """Wait until outcomes reach all that subscribe to them, the publisher of the result too.

        The graph lists subscribers before they are connected; what is published in between never
        arrives. An incompatible subscription is never connected, so the wait is short.
        """
        deadline_s = time.monotonic() + _CONNECTING_S
        while time.monotonic() < deadline_s and any(map(self._lacks_listeners, self.names)):
            time.sleep(_POLL_S)

    def _lacks_listeners(self, name: str) -> bool:
        with self._lock:
            connected = self._newest[name].frame_listeners
        return connected < int(self._node.count_subscribers(f"{name}/frame"))

    def finish(self, flow: FlowControl) -> None:
        """Wait until everything arrived, and let the evaluators finish what they hold.

        Raises:
            StallError: an evaluator does not get on.
            LinkError: an evaluator does not answer.
        """
        flow.wait_received()
        done, progress_s = flow.done(), time.monotonic()
        while True:
            for flush in self._flushes:
                flush.call(self._stall_timeout_s)
            if flow.idle(_FLUSH_AGAIN_S):
                return
            if flow.done() != done:
                done, progress_s = flow.done(), time.monotonic()
            elif time.monotonic() >= progress_s + self._stall_timeout_s:
                told = "; ".join(f"{name}: {flow.describe(name)}" for name in self.names)
                raise StallError(f"frames are still waiting after a flush: {told}")

    def warn_of_others(self, topics: Iterable[str]) -> None:
        """Warn of other publishers on the topics that are played."""
        own = self._node.get_fully_qualified_name()
        for topic in sorted(topics):
            endpoints = self._node.get_publishers_info_by_topic(topic)
            if others := sorted({printable(node_of(each)) for each in endpoints} - {own}):
                self._node.get_logger().warning(
                    f"{topic} is also published by {', '.join(others)}: what they send is scored "
                    "too, and may crowd out what is replayed"
                )

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
            its = [each for each in endpoints if node_of(each) == name]
            # The graph tells who subscribes, the publisher how many it is really matched with.
            if its and publisher.get_subscription_count() >= len(endpoints):
                topics.append(topic)
                if its[0].qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT:
                    return (
                        f"it subscribes to {topic} with best effort, expected reliable: somebody "
                        "else publishes there too, or its parameters say so"
                    )
        if len(topics) < _STREAMS:
            others = ", ".join(sorted(self._image_topics_of(name) - set(topics)))
            return (
                f"of the topics played it subscribes to {', '.join(topics) or 'none'}, expected "
                f"its images and its labels; it also subscribes to {others or 'no image topic'} "
                "(one that is not active subscribes to nothing)"
            )
        if not self._accounts[name].get_publisher_count():
            return f"it does not publish {name}/account"
        routes[name] = topics
        return self._not_ready(name, set(publishers) - set(topics))

    def _not_ready(self, name: str, others: set[str]) -> str:
        """Return what an evaluator's account lacks, which may need some topics more."""
        with self._lock:
            account = self._newest.get(name)
        if account is None or not account.paced:
            return f"it has not confirmed on {name}/account that this replay paces it"
        late = others.intersection(account.topics)
        return f"it does not subscribe to {', '.join(sorted(late))} yet" if late else ""

    def _image_topics_of(self, name: str) -> set[str]:
        namespace, _, base = name.rpartition("/")
        found = self._node.get_subscriber_names_and_types_by_node(base, namespace or "/")
        return {topic for topic, types in found if any("Image" in each for each in types)}

    def _nodes(self) -> Iterable[str]:
        for base, namespace in self._node.get_node_names_and_namespaces():
            yield qualified(namespace, base)

    def _account_callback(self, name: str) -> Callable[[Account], None]:
        def take(message: Account) -> None:
            try:
                account = EvaluatorAccount(
                    message.run_id,
                    message.reset_count,
                    stream_counts(message.images),
                    stream_counts(message.labels),
                    message.paced,
                    message.frame_listeners,
                    message.depth_images,
                    tuple(message.topics),
                )
            except RefusedError as error:
                text = f"account of {name} refused: {error}"
                self._node.get_logger().warning(text, throttle_duration_sec=_WARNING_PERIOD_S)
                return
            with self._lock:
                self._newest[name] = account
                flow = self._flow
            if flow is not None:
                flow.account(name, account)

        return take
