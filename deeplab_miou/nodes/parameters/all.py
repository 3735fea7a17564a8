"""The parameters of all our nodes, by the node's default name."""

from __future__ import annotations

from deeplab_miou.nodes.parameters import evaluator, lifecycle, publisher, replayer

TABLES = {
    "deeplab_evaluator": (*evaluator.PARAMETERS, *lifecycle.PARAMETERS),
    "miou_publisher": (*publisher.PARAMETERS, *lifecycle.PARAMETERS),
    "bag_replayer": replayer.PARAMETERS,
}
NAMES = frozenset(parameter.name for table in TABLES.values() for parameter in table)
