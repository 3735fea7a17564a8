"""One score from many evaluators."""
