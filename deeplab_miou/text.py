"""Text from files and topics, made fit for a log line, a terminal or a page."""

from __future__ import annotations

_LONGEST_QUOTE = 80


def printable(text: str) -> str:
    """Return text on one line that cannot steer a terminal.

    Control characters, line breaks, marks of writing direction and lone surrogates are replaced.
    """
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def quote(text: str) -> str:
    """Quote text that came from a message or a file: on one line, escaped, and not without end."""
    return repr(text[:_LONGEST_QUOTE] + "..." if len(text) > _LONGEST_QUOTE else text)
