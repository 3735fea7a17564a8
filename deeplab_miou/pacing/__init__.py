"""How fast a replay may go: in recorded time, or as fast as the evaluators can score."""
