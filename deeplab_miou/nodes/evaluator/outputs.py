"""What ``deeplab_evaluator`` publishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Account, ConfusionMatrix, FrameScore
from rclpy.duration import Duration
from sensor_msgs.msg import Image

from deeplab_miou.aggregation.messages import EvaluatorState
from deeplab_miou.nodes.evaluator.label_info import publish_label_info
from deeplab_miou.nodes.ros.conversions import (
    account_message,
    image_to_message,
    state_to_message,
)
from deeplab_miou.nodes.ros.diagnostics import Diagnostics
from deeplab_miou.nodes.ros.node_names import nodes_of
from deeplab_miou.nodes.ros.qos import LATCHED
from deeplab_miou.pictures.outcomes import (
    outcome_ground_truth,
    outcome_mistakes,
    outcome_overlay,
)
from deeplab_miou.recording.frame_bytes import encode_frame

if TYPE_CHECKING:
    from rclpy.node import Node

    from deeplab_miou.aggregation.messages import RunSnapshot
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome

_FRAME_DEPTH = 1000
_PICTURE_DEPTH = 5


class EvaluatorOutputs:
    """Publishes results; what nobody subscribes to is not computed.

    Args:
        node: that publishes.
        engine: what the results are of.
        run_id: of the process.
        is_camera: whether the images are a camera's, to paint over; else they are predictions.

    Attributes:
        paced: whether a full queue holds up the publishers; part of the account.
        topics: fully resolved names of the inputs; part of the account.
    """

    def __init__(self, node: Node, engine: Engine, *, run_id: str, is_camera: bool) -> None:
        self._node = node
        self._source = node.get_fully_qualified_name()
        self._engine = engine
        self._run_id = run_id
        self._is_camera = is_camera
        self._frames = node.create_publisher(FrameScore, "~/frame", _FRAME_DEPTH)
        self._accounts = node.create_publisher(Account, "~/account", _FRAME_DEPTH)
        self._states = node.create_publisher(ConfusionMatrix, "~/confusion", LATCHED)
        self._predictions = node.create_publisher(Image, "~/prediction", _PICTURE_DEPTH)
        self._confidences = (
            node.create_publisher(Image, "~/confidence", _PICTURE_DEPTH)
            if engine.predictor.has_confidence
            else None
        )
        self._label_info = publish_label_info(node, engine.label_map.class_names)
        self._painted = {
            node.create_publisher(Image, "~/overlay", _PICTURE_DEPTH): outcome_overlay,
            node.create_publisher(Image, "~/ground_truth", _PICTURE_DEPTH): outcome_ground_truth,
            node.create_publisher(Image, "~/mistakes", _PICTURE_DEPTH): outcome_mistakes,
        }
        self.diagnostics = Diagnostics(node, "evaluation", engine.device)
        self.paced = False
        self.topics: tuple[str, ...] = ()
        self._sequence = 0
        self._published: object = None
        self._confirmed: object = None

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (
            self._frames,
            self._accounts,
            self._states,
            self._predictions,
            *self._painted,
            self._confidences,
            self._label_info,
        ):
            if publisher is not None:
                self._node.destroy_publisher(publisher)
        self.diagnostics.destroy()

    @property
    def wants_accounts(self) -> bool:
        """Whether somebody listens to the account."""
        return bool(self._accounts.get_subscription_count())

    def account_listeners(self) -> set[str]:
        """Return the fully qualified names of the nodes that listen to the account."""
        if not self.wants_accounts:
            return set()
        topic = self._accounts.topic_name
        return nodes_of(self._node.get_subscriptions_info_by_topic(topic))

    @property
    def wants_pictures(self) -> bool:
        """Whether anybody subscribes to predictions, pictures or confidences."""
        return self.wants_confidences or any(
            each.get_subscription_count() for each in (self._predictions, *self._painted)
        )

    @property
    def wants_confidences(self) -> bool:
        """Whether anybody subscribes to confidences."""
        return self._confidences is not None and bool(self._confidences.get_subscription_count())

    def frame(self, outcome: FrameOutcome) -> None:
        """Publish an outcome, and its pictures if it has a prediction."""
        if self._frames.get_subscription_count():
            self._frames.publish(encode_frame(outcome, source=self._source, run_id=self._run_id))
        if outcome.prediction is not None:
            self.pictures(outcome)

    def account(self, snapshot: RunSnapshot) -> None:
        """Publish the account."""
        now = self._node.get_clock().now().to_msg()
        self._accounts.publish(
            account_message(
                snapshot,
                source=self._source,
                paced=self.paced,
                frame_listeners=self._frames.get_subscription_count(),
                topics=self.topics,
                now=now,
            )
        )

    def confirm_account(self, snapshot: RunSnapshot) -> None:
        """Publish the account if it, or who listens, has changed since the last confirmation.

        Threads publish accounts as things happen, perhaps not in order: this is the last word.
        """
        listeners = self._accounts.get_subscription_count()
        if not listeners:
            # Who comes next has heard nothing, even if everything is as it was.
            self._confirmed = None
            return
        frame_listeners = self._frames.get_subscription_count()
        state = (
            *(snapshot.reset_count, snapshot.account, snapshot.depth_images),
            *(self.paced, listeners, frame_listeners),
        )
        if state != self._confirmed:
            self.account(snapshot)
            self._confirmed = state

    def state(self, snapshot: RunSnapshot) -> None:
        """Publish the state of the run if it has changed; one thread at a time."""
        progress = (snapshot.reset_count, snapshot.frame_sequence, snapshot.account)
        if progress == self._published:
            return
        self._published = progress
        self._sequence += 1
        state = EvaluatorState(
            source=self._source,
            sequence=self._sequence,
            run=snapshot,
            class_names=self._engine.label_map.class_names,
            configuration=self._engine.configuration,
            provenance=json.dumps(dict(self._engine.provenance)),
            region_names=self._engine.axes.regions,
        )
        self._states.publish(state_to_message(state))

    def wait_for_readers(self, timeout_s: float) -> None:
        """Wait until all have the newest state, but at most this many seconds."""
        self._states.wait_for_all_acked(Duration(seconds=timeout_s))

    def pictures(self, outcome: FrameOutcome) -> None:
        """Publish the pictures of a frame that has a prediction."""
        image, prediction = outcome.image, outcome.prediction
        if image is None or prediction is None:
            return
        if self._predictions.get_subscription_count():
            ids = image_to_message(prediction, "mono8", image.stamp_ns, image.frame_id)
            self._predictions.publish(ids)
        if outcome.confidence is not None and self._confidences is not None:
            shares = image_to_message(outcome.confidence, "mono8", image.stamp_ns, image.frame_id)
            self._confidences.publish(shares)
        for publisher, paint in self._painted.items():
            if publisher.get_subscription_count():
                painted = paint(outcome, self._engine.label_map, is_camera=self._is_camera)
                if painted is not None:
                    publisher.publish(
                        image_to_message(painted, "rgb8", image.stamp_ns, image.frame_id)
                    )
