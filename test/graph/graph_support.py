"""What tests of live nodes share: profiles, messages, a camera, an evaluator with a bad device."""

from __future__ import annotations

import numpy as np
from deeplab_miou_msgs.msg import Account, ConfusionMatrix, FrameScore
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
KEPT = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Whoever subscribes again does not get again what it had.
LIVE = QoSProfile(depth=1000)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
EVALUATOR, PUBLISHER = "/deeplab_evaluator", "/miou_publisher"
IMAGE, LABEL = "/camera/image", "/camera/labels"


def image(ids, sec, nanosec=0, encoding="mono8", **fields):
    """Return a message of one channel; fields by keyword are set as they are."""
    ids = np.ascontiguousarray(ids, np.uint8)
    message = Image(height=ids.shape[0], width=ids.shape[1], step=ids.shape[1], encoding=encoding)
    message.header.stamp.sec = sec
    message.header.stamp.nanosec = nanosec
    message.header.frame_id = "camera"
    message.data.frombytes(ids.tobytes())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


class Camera:
    """Publishes predictions and labels to an evaluator and hears what it says."""

    def __init__(self, graph, qos=KEPT, topics=(IMAGE, LABEL)):
        self.graph = graph
        self.frames = graph.subscribe(FrameScore, f"{EVALUATOR}/frame", LIVE)
        self.states = graph.subscribe(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED)
        self.images, self.labels = (
            graph.node.create_publisher(Image, topic, qos) for topic in topics
        )

    def connect(self, subscribers=1):
        """Wait until an evaluator subscribes; with more than one, others may be dead ones."""
        self._wait_for(lambda count: count >= subscribers, f"want {subscribers}")
        return self

    def disconnect(self):
        """Wait until nobody subscribes: what comes next would else take the old for the new."""
        self._wait_for(lambda count: count == 0, "want none")

    def _wait_for(self, right, wanted):
        counts = [p.get_subscription_count for p in (self.images, self.labels)]
        self.graph.wait_until(
            lambda: all(right(count()) for count in counts),
            explain=lambda: f"{[count() for count in counts]} subscribers of us, {wanted}",
        )

    def listen(self):
        """Connect, see that outcomes reach us from now on, and let the evaluator start from zero.

        Outcomes are published for whoever listens: until the evaluator knows that we do, none is.
        """
        self.connect()
        for sec in range(1, 100):
            self.send(sec)
            self.states.wait(lambda state, sec=sec: state.frames == sec)
            if self.frames.messages:
                self.frames.wait(lambda score, sec=sec: score.sequence == sec)
                break
        assert self.call("reset").success
        self.states.wait(lambda state: state.reset_count == 1)
        self.frames.messages.clear()
        self.states.messages.clear()
        return self

    def heard_by(self, subscriptions):
        """Wait until outcomes reach so many subscriptions, ours included, as the evaluator sees it.

        That others know of these subscriptions does not mean that the evaluator does already.
        """
        accounts = self.graph.subscribe(Account, f"{EVALUATOR}/account", LIVE)
        accounts.wait(lambda account: account.frame_listeners == subscriptions)
        # An evaluator is paced by whoever publishes its inputs and listens to its account.
        accounts.close()
        return self

    def send(self, sec, prediction=((0, 1, 2),), label=((0, 1, 1),), *, nanosec=0):
        self.images.publish(image(prediction, sec, nanosec))
        self.labels.publish(image(label, sec, nanosec))

    def state(self, predicate):
        """Return the first state that a predicate takes; every one that comes must add up."""

        def check(message):
            check_identity(message)
            return predicate(message)

        return self.states.wait(check)

    def call(self, name):
        """Call a service of the evaluator that takes nothing."""
        return self.graph.call(Trigger, f"{EVALUATOR}/{name}")


def frames(count):
    return lambda message: message.frames == count


def matrix(message):
    classes = len(message.class_names)
    return np.array(message.counts).reshape(classes, classes + 1)


def account(stream):
    return dict(zip(stream.reasons, stream.dropped, strict=True))


def check_identity(message):
    for stream in (message.images, message.labels):
        assert stream.received == stream.evaluated + stream.waiting + sum(stream.dropped)


# The evaluator as it is, but that something happens before its device scores a batch.
_DEVICE = """
import time
from dataclasses import replace
from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.nodes.evaluator import node as evaluator

build = evaluator.build_engine

def build_engine(options):
    engine = build(options)

    def score(images, *others, **options):
{body}
        return engine.predictor.score(images, *others, **options)

    return replace(engine, predictor=replace(engine.predictor, score=score, needs_worker=True))

evaluator.build_engine = build_engine
evaluator.main()
"""


def evaluator_with(folder, *lines):
    """Write a module that runs an evaluator whose device first runs lines; return its name."""
    body = "\n".join(f"        {line}" for line in lines)
    (folder / "odd_evaluator.py").write_text(_DEVICE.format(body=body))
    return "odd_evaluator"
