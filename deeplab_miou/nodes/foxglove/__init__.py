"""``miou_foxglove``: serves the graph's topics to Foxglove where ``foxglove_bridge`` is not."""
