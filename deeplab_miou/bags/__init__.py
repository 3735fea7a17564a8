"""rosbag2 bags in and out: MCAP and SQLite, compressed or not, whole or damaged."""
