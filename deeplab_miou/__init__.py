"""Streaming mean intersection over union (mIoU) of semantic segmentation networks on ROS 2."""

__version__ = "0.1.0"
