from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.accounting import Reason
from deeplab_miou.bags.contents import BagMessage
from deeplab_miou.bags.images import deserialise_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import ConfigurationError, FrameError


def test_decoding_does_not_copy_the_payload(tmp_path, write_bag):
    write_bag(count=1)
    with BagReader(tmp_path / "bag") as reader:
        message = next(reader.messages(["/camera/image"]))
        data = deserialise_image(message).image.data
    whole = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(whole, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("length", [0, 3, 30, 100, -1])
def test_a_message_that_is_none_is_a_frame_error(tmp_path, length, write_bag):
    write_bag(count=1)
    with BagReader(tmp_path / "bag") as reader:
        message = next(reader.messages(["/camera/image"]))
        with pytest.raises(FrameError) as caught:
            deserialise_image(message._replace(data=message.data[:length]))
        assert caught.value.reason is Reason.TRUNCATED_DATA
        with pytest.raises(ConfigurationError, match="expected sensor_msgs/msg/Image"):
            deserialise_image(BagMessage("/t", "std_msgs/msg/String", 0, b""))
