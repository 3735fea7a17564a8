"""``deeplab_evaluator``: receives, pairs, scores."""
