"""Reads the YAML that bags hold: their metadata, and the QoS profiles of their topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from rosbags.rosbag2.metadata import parse_qos

if TYPE_CHECKING:
    from pathlib import Path

    from rosbags.interfaces import Qos

_LONGEST_YAML = 4 * 2**20


class PlainLoader(yaml.SafeLoader):
    """Reads YAML without merge keys, each level of which may double the one before."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merge keys.

        Raises:
            yaml.constructor.ConstructorError: there is one.
        """
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not supported", key.start_mark
                )


# What YAML of somebody else's may come to.
YAML_ERRORS = (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


def read_yaml(text: str | bytes) -> Any:  # noqa: ANN401  (whatever it holds)
    """Return what a YAML text holds.

    Raises:
        YAML_ERRORS: it cannot be read, or is longer than any that belongs to a bag.
    """
    _check_length(len(text))
    return yaml.load(text, PlainLoader)  # noqa: S506  (a safe loader)


def _check_length(length: int) -> None:
    if length > _LONGEST_YAML:
        raise ValueError(f"{length} bytes, at most {_LONGEST_YAML} are read")


def read_metadata_file(folder: Path) -> bytes:
    """Return the text of a bag's ``metadata.yaml``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is longer than any that belongs to a bag; it is not read then.
    """
    file = folder / "metadata.yaml"
    _check_length(file.stat().st_size)
    return file.read_bytes()


def read_qos(text: str) -> tuple[Qos, ...]:
    """Return the QoS profiles of a bag, none where they are unreadable: messages matter more."""
    try:
        return tuple(parse_qos(read_yaml(text) or []))
    except YAML_ERRORS:
        return ()
