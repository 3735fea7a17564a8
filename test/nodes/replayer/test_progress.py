from __future__ import annotations

import os
import pty
import sys

from deeplab_miou.nodes.replayer.progress import ReplayProgress


def test_the_bar_stays_where_the_replay_ended(monkeypatch):
    ours, theirs = pty.openpty()
    lines = []
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        with ReplayProgress(12.5, lines.append, shown=True) as progress:
            progress.update(12.0, lambda: "3 frames")
            progress.update(12.4, lambda: "4 frames")
            progress.end(12.5, lambda: "9 frames")
        terminal.flush()
        shown = ""
        # A terminal hands over what it has, perhaps not all of it.
        while not ("9 frames" in shown and "12.5 of 12.5 s" in shown):
            shown += screen.read(65536).decode()
    bar = [line for line in shown.splitlines() if "of 12.5 s" in line][-1]
    assert "12.5 of 12.5 s" in bar.rpartition("\r")[2]
    assert "9 frames" in bar.rpartition("\r")[2]
    assert lines == []
