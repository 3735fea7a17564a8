"""Text from files and topics, made fit for people."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: it may come from a file or a topic."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
