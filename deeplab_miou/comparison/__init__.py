"""Whether one network segments a stream better than another: differences on the same frames."""
