"""Streaming mean intersection over union (mIoU) of semantic segmentation networks on ROS 2."""
