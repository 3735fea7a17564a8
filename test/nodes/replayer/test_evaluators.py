"""What a replay hears from other nodes; what is malformed is refused, the executor lives on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("deeplab_miou_msgs", reason="our messages are not installed")

from deeplab_miou_msgs.msg import Account, MeanIoU, StreamAccount

from deeplab_miou.nodes.replayer.evaluators import EvaluatorLinks
from deeplab_miou.nodes.replayer.graph import LinkError
from deeplab_miou.nodes.replayer.result import PublisherLink
from deeplab_miou.pacing.accounts import Done

MALFORMED = StreamAccount(received=3, reasons=["queue_full"], dropped=[])


class FakeNode:
    """Remembers subscriptions and warnings."""

    def __init__(self):
        self.callbacks = {}
        self.warnings = []

    def create_subscription(self, _kind, topic, callback, _qos):
        self.callbacks[topic] = callback
        return SimpleNamespace()

    def get_fully_qualified_name(self):
        return "/bag_replayer"

    def get_publishers_info_by_topic(self, topic):
        names = {"/image": ["bag_replayer", "camera", "camera"], "/labels": ["bag_replayer"]}
        return [SimpleNamespace(node_namespace="/", node_name=name) for name in names[topic]]

    def create_client(self, _kind, _service):
        return SimpleNamespace()

    def get_logger(self):
        return SimpleNamespace(warning=lambda line, **_: self.warnings.append(line))


def test_a_malformed_account_is_refused():
    node = FakeNode()
    links = EvaluatorLinks(node, ["/e"], in_flight=4, stall_timeout_s=1.0)
    node.callbacks["/e/account"](Account(run_id="a", images=MALFORMED))
    (line,) = node.warnings
    assert line.startswith("account of /e refused: its account has 1 reasons and 0 counts")
    node.callbacks["/e/account"](Account(run_id="a", images=StreamAccount(received=2)))
    assert links._newest["/e"].images.received == 2


def test_who_else_publishes_is_told():
    node = FakeNode()
    links = EvaluatorLinks(node, ["/e"], in_flight=4, stall_timeout_s=1.0)
    links.warn_of_others(["/image", "/labels"])
    (line,) = node.warnings
    assert line.startswith("/image is also published by /camera: what they send is scored too")


def test_a_malformed_result_is_refused():
    node = FakeNode()
    link = PublisherLink(node, "/p")
    node.callbacks["/p/result"](MeanIoU(frames=5, images=MALFORMED))
    assert node.warnings[0].startswith("result of /p refused: ")
    with pytest.raises(LinkError, match="shows 0 frames"):
        link.wait_for(Done(5, 5, 5), 0.0)


def test_a_result_is_complete_when_frames_and_streams_are():
    node = FakeNode()
    link = PublisherLink(node, "/p")
    streams = {
        "images": StreamAccount(received=9, evaluated=5, waiting=1, reasons=["x"], dropped=[3]),
        "labels": StreamAccount(received=5, evaluated=5),
    }
    node.callbacks["/p/result"](MeanIoU(frames=5, **streams))
    link.wait_for(Done(5, 8, 5), 0.0)
    with pytest.raises(LinkError, match="of 8 images and 5 labels"):
        link.wait_for(Done(5, 9, 5), 0.0)
