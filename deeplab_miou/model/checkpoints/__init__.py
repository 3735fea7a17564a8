"""Files of networks: recognised, read, checked, converted."""
