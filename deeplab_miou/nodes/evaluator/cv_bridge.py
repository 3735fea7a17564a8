"""``cv_bridge``, where it is installed, for encodings that the core does not read itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensor_msgs.msg import Image

from deeplab_miou.images.raw_pixels import register_converter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.images.messages import RawImage


def use_cv_bridge() -> str:
    """Let ``cv_bridge`` read what the core does not.

    Returns:
        What came of it, one line for the log; empty if it is not installed.
    """
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415  (optional)
    except ModuleNotFoundError:
        return ""
    except Exception as error:  # noqa: BLE001  (built for another NumPy it raises anything)
        return f"cv_bridge is not usable ({error!r}): encodings beyond the common ones are refused"
    bridge = CvBridge()

    def convert(message: RawImage, wanted: str) -> NDArray[np.generic]:
        image = Image(
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            is_bigendian=message.is_bigendian,
            step=message.step,
        )
        image.data.frombytes(message.data)
        return bridge.imgmsg_to_cv2(image, desired_encoding=wanted)

    register_converter(convert)
    return "cv_bridge reads encodings beyond the common ones"
