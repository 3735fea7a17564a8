"""Other nodes in the graph: their names, and the services that a replay calls."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from std_srvs.srv import Trigger

from deeplab_miou.errors import DeeplabMiouError

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.task import Future

_CALL_AGAIN_S = 5.0


class LinkError(DeeplabMiouError):
    """A node that the replay needs is missing or does not respond as it should."""


class TriggerClient:
    """Calls a `std_srvs/srv/Trigger` service that can safely be called twice.

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
            raise LinkError(f"service {self._service} is not available after {timeout_s:g} s")
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
                    problem = f"service {self._service} did not answer within {timeout_s:g} s"
                    raise LinkError(problem) from None
        if not response.success:
            raise LinkError(f"service {self._service} failed: {response.message}")
        return str(response.message)
