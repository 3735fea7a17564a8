"""Names of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.topic_endpoint_info import TopicEndpointInfo


def qualified(namespace: str, name: str) -> str:
    """Return the fully qualified name of a node; a name that is one already is kept."""
    return name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"


def node_of(endpoint: TopicEndpointInfo) -> str:
    """Return the fully qualified name of the node that an endpoint belongs to."""
    return qualified(endpoint.node_namespace, endpoint.node_name)
