"""Pair, predict, count: the path that live nodes and offline evaluation share."""
