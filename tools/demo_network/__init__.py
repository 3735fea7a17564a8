"""Trains the network that ships, and draws its pictures; for maintainers, not installed."""
