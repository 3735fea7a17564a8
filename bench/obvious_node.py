"""The node one would write to score a network live; `peer_node.py` compares this package with it.

Two subscribers and a `TimeSynchronizer` of message_filters, segmentation_models_pytorch's network
called as its documentation does, torchmetrics, a lock around the metric. It loads the network and
predicts once before it subscribes, so that no frame is lost to that.

    python bench/obvious_node.py WEIGHTS IDS    (message_filters must be importable)
"""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

import message_filters
import numpy as np
import rclpy
import torch
from network import import_smp
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from torchmetrics.classification import MulticlassJaccardIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
IGNORE = 255


class ObviousNode(Node):  # type: ignore[misc]  # rclpy has no types
    """Scores pairs in the callback.

    Args:
        weights: state dict of the network.
        raw_ids: the id in label images of each class.
    """

    def __init__(self, weights: str, raw_ids: list[int]) -> None:
        super().__init__("obvious_node")
        self.lock = threading.Lock()
        self.table = np.full(256, IGNORE, np.int64)
        self.table[raw_ids] = np.arange(len(raw_ids))
        smp: Any = import_smp()
        self.network = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=len(raw_ids))
        self.network.load_state_dict(torch.load(weights, weights_only=True))
        self.network.eval()
        self.metric = MulticlassJaccardIndex(len(raw_ids), ignore_index=IGNORE)
        self.predict(np.zeros((480, 640, 3), np.uint8))
        self.publisher = self.create_publisher(Float64, "~/miou", 10)
        image = message_filters.Subscriber(self, Image, "/camera/image")
        label = message_filters.Subscriber(self, Image, "/camera/labels")
        self.synchronizer = message_filters.TimeSynchronizer([image, label], 10)
        self.synchronizer.registerCallback(self.score)

    @torch.no_grad()
    def predict(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Return the class of each pixel, ``(1, h, w)``."""
        pixels = torch.from_numpy(image).permute(2, 0, 1).float().div(255)
        logits: torch.Tensor = self.network(((pixels - MEAN) / STD)[None])
        return logits.argmax(1)

    def score(self, image: Image, label: Image) -> None:
        """Take a pair."""
        pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        ids = np.frombuffer(label.data, np.uint8).reshape(label.height, label.width)
        prediction = self.predict(pixels)
        with self.lock:
            self.metric.update(prediction, torch.from_numpy(self.table[ids])[None])
            miou = float(self.metric.compute())
        self.publisher.publish(Float64(data=miou))


def main() -> None:
    """Spin until interrupted."""
    rclpy.init()
    node = ObviousNode(sys.argv[1], [int(word) for word in sys.argv[2].split(",")])
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
