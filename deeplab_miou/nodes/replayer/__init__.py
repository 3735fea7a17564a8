"""``bag_replayer``: plays a bag to evaluators."""
