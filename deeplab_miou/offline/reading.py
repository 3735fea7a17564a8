"""Reads a bag once for one or more evaluations, handing on what belongs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.bags.ahead import reading_ahead
from deeplab_miou.bags.images import checked_image, deserialise_image
from deeplab_miou.errors import BagError
from deeplab_miou.offline.holding import HeldMessages
from deeplab_miou.offline.plan import NONE, OUTSIDE
from deeplab_miou.offline.video import with_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.offline.plan import Links
    from deeplab_miou.offline.run import Run


def read_bag(
    reader: BagReader,
    topics: Sequence[str],
    runs: Sequence[tuple[Run, Links]],
    on_progress: Callable[[int, int], None],
    span: tuple[int, int] | None = None,
    *,
    needed: NDArray[np.bool_],
) -> str:
    """Evaluate a bag, or what was recorded in a span of time.

    A label and the images that belong to it go to all runs one after the other, as soon as the last
    of them has been read.

    Args:
        reader: the open bag.
        topics: all that the runs use.
        runs: with what `plan` found to belong together for this run.
        on_progress: called after each message with how many were read, and how many there are.
        span: when to begin and to stop, recording time in nanoseconds; the runs' numbers count from
            there. All of the bag by default.
        needed: which of the messages are packets of videos that must be decoded.

    Returns:
        What could not be read of it, empty if nothing.
    """
    problem = ""
    groups = _Groups(runs)
    total = len(runs[0][1].partners)
    start_ns, stop_ns = span or (None, None)
    with HeldMessages() as held:
        try:
            # Messages first: what ends a damaged bag is only known by asking for one more.
            partners = [links.partners for _, links in runs]
            read = with_pictures(reader.messages(topics, start_ns, stop_ns), needed, partners)
            with reading_ahead(read) as messages:
                for message, number in zip(messages, range(total), strict=False):
                    groups.take(held, number, message)
                    on_progress(number + 1, total)
        except BagError as error:
            problem = str(error)
        except OSError as error:
            raise BagError(
                f"messages that wait for their partner cannot be kept: {error}"
            ) from None
        groups.close(held)
    return problem


class _Groups:
    """Labels, each with the images and depth images that belong to it.

    Args:
        runs: as of `read_bag`.
    """

    def __init__(self, runs: Sequence[tuple[Run, Links]]) -> None:
        self._runs = [(run, *(each.tolist() for each in links)) for run, links in runs]
        self._open: set[int] = set()

    def take(self, held: HeldMessages, number: int, message: BagMessage) -> None:
        """Hand a message on with those that belong to it, keep it until they come, or reject it."""
        label = NONE
        for run, partners, depths in self._runs:
            partner = partners[number]
            if partner >= 0:
                label = number if run.is_label(message) else partner
            elif depths[number] >= 0:
                label = depths[number]
            elif partner != OUTSIDE:
                run.reject(message, partner)
        if label < 0:
            return
        if number < max(self._members(label)):
            self._open.add(label)
            held.put(number, message)
        else:
            self._hand_on(held, label, {number: message})

    def close(self, held: HeldMessages) -> None:
        """Pass on groups that are incomplete, as at the end of a damaged bag."""
        for label in sorted(self._open):
            self._hand_on(held, label, {})

    def _members(self, label: int) -> set[int]:
        links = [each[label] for _, *both in self._runs for each in both]
        return {label, *(each for each in links if each >= 0)}

    def _hand_on(self, held: HeldMessages, label: int, found: dict[int, BagMessage]) -> None:
        self._open.discard(label)
        for number in self._members(label) - found.keys():
            message = held.take(number)
            if message is not None:
                found[number] = message
        # Read once: it is the same ground truth for all runs.
        truth = checked_image(found[label]) if label in found else None
        for run, partners, depths in self._runs:
            image, depth = partners[label], depths[label]
            if image < 0:
                continue
            if truth is not None and image in found:
                # What is wrong with a depth image is told when it is decoded.
                measured = deserialise_image(found[depth]) if depth in found else None
                run.take(checked_image(found[image]), truth, measured)
                continue
            for number in {image, label} & found.keys():
                run.reject(found[number], NONE)
