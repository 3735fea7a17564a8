"""Generates the layout for Foxglove and the perspective for rqt; for maintainers, not installed."""
