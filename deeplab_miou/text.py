"""Makes text from files and topics safe for a log line, a terminal or a page."""

from __future__ import annotations

import re

_LONGEST_QUOTE = 80


def printable(text: str) -> str:
    """Return text on one line that cannot steer a terminal.

    Line breaks and tabs become spaces; other control characters, marks of writing direction and
    lone surrogates become U+FFFD.
    """
    if text.isprintable():
        return text
    line = " ".join(re.split(r"[\n\r\t]+", text))
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)


def plural(number: int, noun: str) -> str:
    """Return a number with its noun, as in "1 frame" and "0 frames"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def capitalized(words: str) -> str:
    """Return words with a capital first letter, the others as they are."""
    return words[:1].upper() + words[1:]


def quote(text: str) -> str:
    """Quote text that came from a message or a file: on one line, escaped, and not without end."""
    return repr(text[:_LONGEST_QUOTE] + "..." if len(text) > _LONGEST_QUOTE else text)
