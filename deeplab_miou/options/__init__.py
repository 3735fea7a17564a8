"""What a user can set: declared once, for ROS parameters, command lines, files and docs alike."""
