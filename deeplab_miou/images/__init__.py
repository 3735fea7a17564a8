"""Image messages as arrays, without copies where possible."""
