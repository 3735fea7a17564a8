"""Pair, predict, count: the path that live nodes and evaluation of a bag share."""
