"""Recordings of scores as a rosbag2, live and offline, without ROS 2."""
