import numpy as np
import pytest

from deeplab_miou.bags.images import deserialise_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.demo.bag import IMAGE_TOPIC, LABEL_TOPIC, labelled, write_demo_bag
from deeplab_miou.demo.scenes import SceneRenderer
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.images.decoding import decode_color, decode_ids

SEED, SIZE, FRAMES = 2_000_001, (120, 160), 22


@pytest.fixture(scope="module", params=["mcap", "sqlite3"])
def bag(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / request.param
    calls = []
    write_demo_bag(
        path, SEED, FRAMES, size=SIZE, storage=request.param,
        progress=lambda *args: calls.append(args),
    )  # fmt: skip
    assert calls == [(index + 1, FRAMES) for index in range(FRAMES)]
    with BagReader(path) as reader:
        found = {IMAGE_TOPIC: {}, LABEL_TOPIC: {}}
        for message in reader.messages():
            stamped = deserialise_image(message)
            found[message.topic][stamped.stamp_ns] = stamped
            assert message.timestamp_ns == stamped.stamp_ns
    return found


def test_images_at_10_hz(bag):
    stamps = sorted(bag[IMAGE_TOPIC])
    assert len(stamps) == FRAMES
    assert set(np.diff(stamps)) == {100_000_000}
    assert {item.image.encoding for item in bag[IMAGE_TOPIC].values()} == {"rgb8"}
    assert {item.frame_id for item in bag[IMAGE_TOPIC].values()} == {"camera"}


def test_every_frame_labelled_in_the_first_half_then_key_frames(bag):
    stamps = sorted(bag[IMAGE_TOPIC])
    wanted = [stamps[i] for i in (*range(11), 11, 16, 21)]
    assert sorted(bag[LABEL_TOPIC]) == wanted
    assert [i for i in range(FRAMES) if labelled(i, FRAMES)] == [*range(11), 11, 16, 21]


def test_the_pixels_are_the_renderers(bag):
    renderer = SceneRenderer(SEED, *SIZE)
    stamps = sorted(bag[IMAGE_TOPIC])
    for index in (0, 16):
        scene = renderer.render(index / 10)
        assert np.array_equal(decode_color(bag[IMAGE_TOPIC][stamps[index]].image), scene.image)
        label = bag[LABEL_TOPIC][stamps[index]].image
        assert label.encoding == "mono8"
        assert np.array_equal(decode_ids(label), scene.label)


@pytest.mark.parametrize(("frames", "rate_hz"), [(0, 10.0), (5, 0.0), (5, float("nan"))])
def test_nonsense_is_refused(tmp_path, frames, rate_hz):
    with pytest.raises(ConfigurationError, match="demo bag"):
        write_demo_bag(tmp_path / "bag", SEED, frames, rate_hz=rate_hz)
    assert not (tmp_path / "bag").exists()
