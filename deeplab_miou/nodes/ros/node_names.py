"""Names of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_full_topic_name import validate_full_topic_name

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeplab_miou.nodes.ros.distributions import TopicEndpointInfo

# Whose an endpoint is becomes known a little after the endpoint itself.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


def qualified(namespace: str, name: str) -> str:
    """Return the fully qualified name of a node; a name that is one already is kept."""
    return name if name.startswith("/") else f"{namespace.rstrip('/')}/{name}"


def is_node_name(name: str) -> bool:
    """Tell whether a fully qualified name is one that a node may have."""
    try:
        validate_full_topic_name(name)
    except InvalidTopicNameException:
        return False
    return True


def check_node_name(namespace: str, name: str, parameter: str) -> None:
    """Raise ConfigurationError unless a name is one that a node may have.

    Args:
        namespace: of a name that is not fully qualified.
        name: the name.
        parameter: which gives it.
    """
    if not is_node_name(qualified(namespace, name)):
        raise ConfigurationError(f"parameter {parameter} is {name!r}, expected the name of a node")


def node_of(endpoint: TopicEndpointInfo) -> str:
    """Return the fully qualified name of the node that an endpoint belongs to."""
    return qualified(endpoint.node_namespace, endpoint.node_name)


def is_known(endpoint: TopicEndpointInfo) -> bool:
    """Return whether it is known yet which node an endpoint belongs to."""
    return bool(endpoint.node_name != _UNKNOWN)


def nodes_of(endpoints: Iterable[TopicEndpointInfo]) -> set[str]:
    """Return the fully qualified names of the nodes that endpoints belong to, where known."""
    return {node_of(each) for each in endpoints if is_known(each)}
