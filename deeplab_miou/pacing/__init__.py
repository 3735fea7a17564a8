"""How fast a replay may go: by the recorded time, or by what the evaluators have done."""
