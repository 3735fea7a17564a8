"""What ROS 2 distributions call differently; see `rclpy_private` for what is not public.

Names that a test holds to every distribution's sources (``tools/upstream_names.py``) are imported
from here if one of them calls them otherwise.
"""

from __future__ import annotations

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ModuleNotFoundError:
    # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

try:
    from rclpy.endpoint_info import TopicEndpointInfo
except ModuleNotFoundError:
    # before Lyrical
    from rclpy.topic_endpoint_info import TopicEndpointInfo

__all__ = ["SubscriptionEventCallbacks", "TopicEndpointInfo"]
