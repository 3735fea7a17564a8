"""``miou_comparer``: publishes how one evaluator differs from another on the same frames."""
