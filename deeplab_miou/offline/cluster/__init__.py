"""Evaluates bags on a Ray cluster."""
