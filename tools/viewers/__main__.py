"""Writes the layouts that ship: ``PYTHONPATH=tools python -m viewers``."""

from __future__ import annotations

from viewers.fields import ROOT
from viewers.foxglove_comparison import comparison_layout
from viewers.foxglove_layout import layout
from viewers.rqt_perspective import perspective


def main() -> None:
    """Write them."""
    (ROOT / "config" / "foxglove_layout.json").write_text(layout(), encoding="utf-8")
    path = ROOT / "config" / "foxglove_comparison_layout.json"
    path.write_text(comparison_layout(), encoding="utf-8")
    path = ROOT / "config" / "deeplab_miou.perspective"
    path.write_text(perspective(), encoding="utf-8")


if __name__ == "__main__":
    main()
