"""Evaluates bags from their files, without a ROS graph."""
