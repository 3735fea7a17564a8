"""Evaluation of a bag from its file, without a graph."""
