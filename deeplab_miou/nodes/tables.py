"""The parameters of all our nodes, by the node's default name."""

from __future__ import annotations

from deeplab_miou.nodes import (
    evaluator_parameters,
    managed_parameters,
    publisher_parameters,
    replay_options,
)

TABLES = {
    "deeplab_evaluator": (*evaluator_parameters.PARAMETERS, *managed_parameters.PARAMETERS),
    "miou_publisher": (*publisher_parameters.PARAMETERS, *managed_parameters.PARAMETERS),
    "bag_replayer": replay_options.PARAMETERS,
}
NAMES = frozenset(parameter.name for table in TABLES.values() for parameter in table)
