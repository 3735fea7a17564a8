"""What tools assume when nothing is said; light, so that command lines are quick."""

from __future__ import annotations

IMAGE_TOPIC = "/camera/image"
LABEL_TOPIC = "/camera/labels"
