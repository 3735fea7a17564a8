"""Reads and writes rosbag2 bags: MCAP and SQLite, compressed or not, intact or damaged."""
