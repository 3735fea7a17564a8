"""Detects from the stamps of a stream, and from the clock, that time jumped back.

A bag that loops and a simulator that starts again stamp their messages with times that were used
before. Each stream finds out for itself, because its messages may be seconds behind those of the
others and of the clock.
"""

from __future__ import annotations

# A stamp that is repeated this far behind the newest one means that time went back.
REPEAT_BACK_NS = 1_000_000_000
# After a jump of the clock, the first stamps of a stream may be this far ahead of the clock.
CLOCK_MARGIN_NS = 500_000_000
# Later than any stamp that a message can have.
FAR_NS = 2**63


class StampEras:
    """Numbers the eras of a stream; within one, stamps go forward but for some reordering.

    A new era begins with a repeated stamp, or when the clock or the other stream went back. A stamp
    that was never set (0), or one in the far future after which the stream continues as before,
    begins none. Nor does a stamp not seen before in a stream that may be late: labels from a
    service that answers seconds later, in any order, do not mean that a clock went back.

    Args:
        jump_threshold_ns: a stamp further than this behind the newest begins an era even if
            neither the clock nor a repeated stamp says so, unless the stream may be late.
        may_be_late: whether stamps may lie far behind the newest though time did not go back.

    Attributes:
        number: of the present era, from 0.
    """

    def __init__(self, jump_threshold_ns: int, *, may_be_late: bool = False) -> None:
        self.number = 0
        self._jump_threshold_ns = jump_threshold_ns
        self._may_be_late = may_be_late
        # How far behind the newest a stamp of the present era has been.
        self._disorder_ns = 0
        self._newest_ns: int | None = None
        # The newest stamp before the last message, if that one leapt ahead.
        self._leapt_from_ns: int | None = None
        # Where the clock went while this stream has not, and where this stream went before it.
        self._clock_ns: int | None = None
        self._ahead_of_clock_ns: int | None = None

    def observe(self, stamp_ns: int, *, is_repeated: bool, is_behind: bool) -> bool:
        """Take note of a stamp and return whether it begins an era.

        Args:
            stamp_ns: of the next message, nanoseconds.
            is_repeated: the present era has had this stamp.
            is_behind: the other stream is in a later era.
        """
        newest_ns, leapt_from_ns = self._newest_ns, self._leapt_from_ns
        if newest_ns is None:
            self._newest_ns = stamp_ns
            return False
        back_ns = newest_ns - stamp_ns
        is_leap = -back_ns > self._jump_threshold_ns
        self._leapt_from_ns = newest_ns if is_leap else None
        goes_on = leapt_from_ns is not None and leapt_from_ns - stamp_ns <= self._jump_threshold_ns
        if (
            (is_repeated and (is_behind or back_ns >= REPEAT_BACK_NS))
            or self._follows_clock(stamp_ns, back_ns)
            or (
                back_ns > self._jump_threshold_ns
                and stamp_ns != 0
                and not goes_on
                and (is_behind or not self._may_be_late)
            )
        ):
            self.number += 1
            self._newest_ns = stamp_ns
            self._disorder_ns = 0
            self._ahead_of_clock_ns = stamp_ns if self._clock_ns is None else None
            self._clock_ns = None
            return True
        if stamp_ns and back_ns > self._jump_threshold_ns and leapt_from_ns is not None:
            newest_ns = leapt_from_ns
        elif stamp_ns:
            self._disorder_ns = max(self._disorder_ns, back_ns)
        self._newest_ns = max(newest_ns, stamp_ns)
        return False

    def is_late(self, stamp_ns: int) -> bool:
        """Return whether a stamp is so far behind the newest that time may have jumped back."""
        return self._newest_ns is not None and self._newest_ns - stamp_ns > self._jump_threshold_ns

    def has_passed(self, number: int, stamp_ns: int) -> bool:
        """Return whether stamps before one, in an era, are not to be expected any more."""
        return self.passed_ns(number) >= stamp_ns

    def passed_ns(self, number: int) -> int:
        """Return before which time, in an era, no more stamps are to be expected."""
        if number != self.number:
            return FAR_NS if number < self.number else -FAR_NS
        newest_ns = self._newest_ns if self._leapt_from_ns is None else self._leapt_from_ns
        return -FAR_NS if newest_ns is None else newest_ns - self._disorder_ns

    def catch_up(self, number: int) -> None:
        """Note that a later era has begun, which no stamp of this stream has shown."""
        self.number = number
        self._clock_ns = None

    def clock_jumped(self, now_ns: int) -> None:
        """Take note that the clock went back to a time: stamps will follow if they have not."""
        ahead_ns = self._ahead_of_clock_ns
        self._ahead_of_clock_ns = None
        if ahead_ns is not None and ahead_ns <= now_ns + CLOCK_MARGIN_NS:
            return
        if self._newest_ns is not None and self._newest_ns > now_ns:
            self._clock_ns = now_ns

    def _follows_clock(self, stamp_ns: int, back_ns: int) -> bool:
        if self._clock_ns is None or back_ns <= 0:
            return False
        return stamp_ns <= self._clock_ns + CLOCK_MARGIN_NS or back_ns > CLOCK_MARGIN_NS
