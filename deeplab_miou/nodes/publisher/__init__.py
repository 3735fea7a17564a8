"""``miou_publisher``: adds evaluators up and publishes scores."""
