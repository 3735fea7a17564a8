"""The options of each node, which are ROS parameters."""

from __future__ import annotations

from deeplab_miou.options.comparer import ComparerOptions
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.evaluator import EvaluatorOptions
from deeplab_miou.options.foxglove import FoxgloveOptions
from deeplab_miou.options.publisher import PublisherOptions
from deeplab_miou.options.replayer import ReplayerOptions
from deeplab_miou.options.watch import WatchOptions

# By the node's default name.
NODES: dict[str, type] = {
    "deeplab_evaluator": EvaluatorOptions,
    "miou_publisher": PublisherOptions,
    "bag_replayer": ReplayerOptions,
    "miou_watch": WatchOptions,
    "miou_comparer": ComparerOptions,
    "miou_foxglove": FoxgloveOptions,
}
OPTION_NAMES = frozenset(each.name for declared in NODES.values() for each in options_of(declared))
