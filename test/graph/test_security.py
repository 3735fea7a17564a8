"""The SROS2 policy allows what the nodes use, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from image_files import mono8

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from graph_support import IMAGE, LABEL, PUBLISHER

from deeplab_miou.bags.writer import BagWriter

POLICY = Path(__file__).parents[2] / "security" / "policy.xml"
NODES = ("deeplab_evaluator", "miou_publisher", "bag_replayer")
# Attribute of the policy, by what the graph is asked for.
USES = {
    "publish": "get_publisher_names_and_types_by_node",
    "subscribe": "get_subscriber_names_and_types_by_node",
    "reply": "get_service_names_and_types_by_node",
    "request": "get_client_names_and_types_by_node",
}


def policy():
    return ET.parse(POLICY)  # noqa: S314  our own file


def resolve(name, node):
    if name.startswith("~"):
        return f"/{node}{name[1:]}"
    return name if name.startswith("/") else f"/{name}"


def allowed(node):
    """Return the names that the policy allows a node, by kind of use."""
    found = {use: set() for use in USES}
    for profile in policy().iter("profile"):
        if profile.get("node") != node:
            continue
        for group in profile:
            for use in USES.keys() & group.keys():
                assert group.get(use) == "ALLOW"
                found[use] |= {resolve(entry.text.strip(), node) for entry in group}
    return found


# Not with predictions of a topic, and only where vision_msgs is installed.
OPTIONAL = {"/deeplab_evaluator/confidence", "/deeplab_evaluator/label_info"}


def used(graph, node):
    """Return the names that a live node uses, by kind of use."""
    return {
        use: {name for name, _ in getattr(graph.node, question)(node, "/")}
        for use, question in USES.items()
    }


@pytest.fixture
def everything(ros_process, tmp_path):
    """Run all three nodes with all that they can be asked to use."""
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(20):
            for topic in (IMAGE, LABEL):
                writer.write_image(topic, (index + 1) * 10**8, "camera", mono8([[0]]))
    common = {"use_sim_time": True}
    topic = {"source": "topic", "labels": "cityscapes_train_ids"}
    ros_process("deeplab_miou.nodes.evaluator", parameters=common | topic)
    record = {"record": str(tmp_path / "recording")}
    ros_process("deeplab_miou.nodes.publisher", parameters=common | record)
    ros_process(
        "deeplab_miou.nodes.replayer",
        str(tmp_path / "bag"),
        parameters={"paced": True, "loop": True, "publisher": PUBLISHER, "progress": False},
    )


def test_policy_is_what_the_nodes_use(everything, graph):  # noqa: ARG001  fixture
    def differences():
        return [
            (node, use, sorted((names[use] ^ allowed(node)[use]) - OPTIONAL))
            for node in NODES
            for names in [seen[node]]
            for use in USES
            if (names[use] ^ allowed(node)[use]) - OPTIONAL
        ]

    seen = {node: {use: set() for use in USES} for node in NODES}

    def complete():
        if not set(NODES) <= set(graph.node.get_node_names()):
            return False
        for node, use in itertools.product(NODES, USES):
            seen[node][use] |= used(graph, node)[use]
        return not differences()

    graph.wait_until(complete, 20, lambda: "\n".join(map(str, differences())))


def test_a_name_is_allowed_to_one_enclave_for_one_node():
    enclaves = list(policy().iter("enclave"))
    assert [enclave.get("path") for enclave in enclaves] == [f"/{node}" for node in NODES]
    for enclave, node in zip(enclaves, NODES, strict=True):
        (profile,) = enclave.iter("profile")
        assert (profile.get("ns"), profile.get("node")) == ("/", node)
    texts = [entry.text for entry in policy().iter() if entry.tag in ("topic", "service")]
    assert not any("*" in text for text in texts)
    assert np.all([text == text.strip() for text in texts])
