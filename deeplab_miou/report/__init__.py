"""Report of a run: JSON, table and pictures."""
