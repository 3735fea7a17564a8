"""The parameters of every lifecycle node."""

from __future__ import annotations

from deeplab_miou.nodes.parameters.table import Parameter

PARAMETERS = (
    Parameter(
        "autostart",
        default=True,
        description="configure and activate by itself once the node spins",
    ),
    Parameter(
        "autostart_exit_on_failure",
        default=False,
        description="end the process when autostart fails, instead of staying up unconfigured",
    ),
)
