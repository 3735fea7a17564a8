"""The errors that users see: each message is one line that says what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.text import printable

if TYPE_CHECKING:
    from deeplab_miou.accounting import Reason


class DeeplabMiouError(Exception):
    """Base of all errors that are the user's to fix; the message is one complete line.

    What it quotes from a file or a topic can neither begin a line of its own nor steer a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class ConfigurationError(DeeplabMiouError, ValueError):
    """A parameter, label map or checkpoint cannot be used as given."""


class BagError(DeeplabMiouError):
    """A bag cannot be read or written, or only in part."""


class FrameError(DeeplabMiouError):
    """One image or label cannot be used; it is counted under its reason and the stream continues.

    Attributes:
        reason: the counter that it belongs to.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
