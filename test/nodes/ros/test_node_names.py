from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.nodes.ros.node_names import check_node_name, is_known, node_of, nodes_of

# As rclpy reports an endpoint of which the middleware has heard, but not yet of its node.
UNKNOWN = SimpleNamespace(
    node_namespace="_NODE_NAMESPACE_UNKNOWN_", node_name="_NODE_NAME_UNKNOWN_"
)


def endpoint(namespace, name):
    return SimpleNamespace(node_namespace=namespace, node_name=name)


def test_a_name_that_no_node_may_have_is_refused():
    check_node_name("/", "/front/camera", "evaluator_a")
    with pytest.raises(
        ConfigurationError, match="parameter evaluator_a is 'a b', expected the name of a node"
    ):
        check_node_name("/", "a b", "evaluator_a")


def test_nodes_have_full_names():
    assert node_of(endpoint("/", "camera")) == "/camera"
    assert node_of(endpoint("/front", "camera")) == "/front/camera"


def test_nodes_that_are_not_known_yet_are_not_one_node():
    assert not is_known(UNKNOWN)
    assert nodes_of([UNKNOWN]) == set()
    assert nodes_of([UNKNOWN, endpoint("/", "camera"), endpoint("/", "camera")]) == {"/camera"}
