"""The exit codes of the subcommands of ``deeplab-miou``."""

from __future__ import annotations

OK, WRONG, USAGE, DAMAGED_BAG, NOTHING_EVALUATED, NOT_GOOD_ENOUGH = 0, 1, 2, 3, 4, 5
INTERRUPTED = 130
OUTPUT_CLOSED = 141  # as a shell reports a process that SIGPIPE ended
