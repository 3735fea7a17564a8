"""Packets in, pictures out: equal to PyAV's own decoding, or a reason why not."""

import cv2
import numpy as np
import pytest
from video_files import BIDIRECTIONAL, av, decode, encode, packet_of, pictures

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.video.stream import VideoStream

CODECS = ("h264", "h265", "av1", "vp9")
STEP_NS = 33_333_333
COUNT = 20


@pytest.fixture(scope="module")
def videos():
    """Return videos with a key frame every 8 pictures, by codec."""
    return {codec: encode(codec, pictures(COUNT)) for codec in CODECS}


def play(codec, packets, *, numbers=False, encoding=None):
    """Return by place in the video what becomes of each packet: a picture or a reason."""
    stream, found = VideoStream(), {}

    def take(decoded):
        for each in decoded:
            assert each.token not in found
            try:
                found[each.token] = decode_color(each.image())
            except FrameError as error:
                found[each.token] = error.reason

    for place, _, data in packets:
        number = place if numbers else None
        try:
            packet = packet_of(place * STEP_NS, encoding or codec, data, number)
            take(stream.take(packet, place))
        except FrameError as error:
            assert place not in found
            found[place] = error.reason
    take(stream.finish())
    assert sorted(found) == sorted(place for place, *_ in packets)
    return found


def reasons(found):
    return {place: each for place, each in found.items() if isinstance(each, Reason)}


def same(found, expected):
    assert not reasons(found)
    assert found.keys() == expected.keys()
    return all(np.array_equal(found[place], expected[place]) for place in expected)


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_are_those_that_pyav_decodes(videos, codec):
    assert same(play(codec, videos[codec]), decode(codec, videos[codec]))


@pytest.mark.parametrize("codec", CODECS)
def test_one_packet_gives_its_picture_at_once(videos, codec):
    stream = VideoStream()
    for place, _, data in videos[codec]:
        (decoded,) = stream.take(packet_of(place, codec, data), place)
        assert decoded.token == place


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_opencv_decodes_the_same(videos, codec, tmp_path):
    """An independent build of FFmpeg and of the conversion of colours."""
    file = tmp_path / f"video.{codec}"
    file.write_bytes(b"".join(data for *_, data in videos[codec]))
    capture = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        pytest.skip("this OpenCV decodes no videos")
    found = play(codec, videos[codec])
    for place in range(COUNT):
        read, picture = capture.read()
        assert read
        # Its conversion rounds otherwise.
        assert cv2.absdiff(np.ascontiguousarray(found[place]), picture[..., ::-1]).max() <= 3
    assert not capture.read()[0]


@pytest.mark.parametrize("codec", CODECS)
def test_frames_shown_later_find_their_stamps(codec):
    packets = encode(codec, pictures(COUNT), BIDIRECTIONAL[codec], b_frames=2, gop=10)
    if codec in ("h264", "h265"):
        places = [place for place, *_ in packets]
        assert places != sorted(places)
    assert same(play(codec, packets), decode(codec, packets))


@pytest.mark.parametrize("codec", CODECS)
def test_before_the_first_key_frame_there_are_no_pictures(videos, codec):
    found = play(codec, videos[codec][5:])
    assert reasons(found) == dict.fromkeys((5, 6, 7), Reason.NO_KEY_FRAME)
    expected = decode(codec, videos[codec])
    assert all(np.array_equal(found[place], expected[place]) for place in range(8, COUNT))


@pytest.mark.parametrize(
    ("codec", "lost", "numbers"),
    [
        *((codec, lost, False) for codec in ("h264", "h265", "av1") for lost in (1, 3, 6)),
        # VP9 does not count; the messages of ffmpeg_image_transport do.
        ("vp9", 3, True),
        ("vp9", 6, True),
    ],
)
def test_what_builds_on_a_lost_packet_is_not_trusted(videos, codec, numbers, lost):
    packets = [each for each in videos[codec] if each[0] != lost]
    found = play(codec, packets, numbers=numbers)
    assert reasons(found) == dict.fromkeys(range(lost + 1, 8), Reason.LOST_REFERENCE)
    expected = decode(codec, videos[codec])
    assert all(np.array_equal(found[place], expected[place]) for place in range(8, COUNT))


@pytest.mark.parametrize(
    ("codec", "gop", "more"),
    [
        ("h264", 10, ""),
        ("h265", 10, ""),
        # Places begin anew at each key frame, so that those of a lost one's pictures are known.
        ("h265", 5, ":open-gop=0:bframes=3"),
        ("h265", 8, ":open-gop=0:bframes=3:ref=5"),
        ("h265", 6, ":open-gop=0:bframes=3:radl=2"),
        # Frames are decoded early, and later packets only name where they are kept.
        ("av1", 10, ""),
    ],
)
def test_whichever_packet_is_lost_no_picture_is_wrong(codec, gop, more):
    options = dict(BIDIRECTIONAL[codec])
    if more:
        options["x265-params"] = f"log-level=none{more}"
    packets = encode(codec, pictures(3 * gop), options, b_frames=3, gop=gop)
    expected = decode(codec, packets)
    for lost in range(len(packets)):
        found = play(codec, packets[:lost] + packets[lost + 1 :])
        given = {place: each for place, each in found.items() if not isinstance(each, Reason)}
        assert given
        for place, picture in given.items():
            assert np.array_equal(picture, expected[place]), (lost, place)


def test_a_loss_right_after_a_key_frame_shows_once_messages_count_on(videos):
    packets = [each for each in videos["vp9"] if each[0] != 1]
    found = play("vp9", packets, numbers=True)
    assert reasons(found) == dict.fromkeys(range(3, 8), Reason.LOST_REFERENCE)


def test_a_key_frame_that_was_lost_spoils_all_that_builds_on_it(videos):
    for codec in ("h264", "h265", "av1"):
        found = play(codec, [each for each in videos[codec] if each[0] != 8])
        assert reasons(found) == dict.fromkeys(range(9, 16), Reason.LOST_REFERENCE)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_b_frames_that_begin_late_are_no_loss(codec):
    """Encoders choose where they use them: not while pictures change a lot, as here at first."""
    noise = np.random.default_rng(2).integers(0, 256, (288, 384, 3)).astype(np.uint8)
    ground = cv2.GaussianBlur(noise, (0, 0), 4)
    images = []
    for k in range(COUNT):
        turned = cv2.getRotationMatrix2D((192, 144), 6 * min(k, 8), 1 + 0.08 * min(k, 8))
        moved = cv2.warpAffine(ground, turned, (384, 288))[96:192, 128:256]
        images.append(cv2.convertScaleAbs(moved, alpha=1 - 0.05 * min(k, 8)))
    packets = encode(codec, images, BIDIRECTIONAL[codec], b_frames=3, gop=40)
    order = [place for place, *_ in packets]
    begin = next(k for k, place in enumerate(order) if place != k)
    assert 1 < begin < order[begin]
    assert same(play(codec, packets, numbers=True), decode(codec, packets))


def test_a_pause_in_which_frame_numbers_may_have_gone_around_is_not_trusted():
    """Frame numbers of this video have 4 bits."""
    packets = encode("h264", pictures(40), gop=40)
    kept = [each for each in packets if not 5 <= each[0] < 21]
    assert reasons(play("h264", kept)) == dict.fromkeys(range(21, 40), Reason.LOST_REFERENCE)
    assert not reasons(play("h264", packets))


@pytest.mark.parametrize("gop", [17, 33])
def test_a_lost_key_frame_is_noticed_if_frame_numbers_go_on(gop):
    """Frame numbers begin with 0 at a key frame, and every 16 pictures."""
    options = {"tune": "zerolatency", "sc_threshold": "0"}
    packets = encode("h264", pictures(2 * gop), options, gop=gop)
    found = play("h264", [each for each in packets if each[0] != gop])
    lost = dict.fromkeys(range(gop + 1, 2 * gop), Reason.LOST_REFERENCE)
    assert reasons(found) == lost


@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_what_was_skipped_before_it_was_coded_is_no_loss(codec):
    """The counter of the messages may count what a camera or an encoder skips; the codec's not."""
    stream = VideoStream()
    for place, _, data in encode(codec, pictures(40), gop=40):
        counted = place + 2 * (place >= 5) + (place >= 20)
        assert stream.take(packet_of(counted * STEP_NS, codec, data, counted), place)


def test_stamps_need_not_be_even():
    """As those of a driver that falls behind, and stamps the next two pictures at once."""
    packets = encode("h264", pictures(40), gop=40)
    stream = VideoStream()
    for place, _, data in packets:
        late = 32_000_000 if place == 9 else 0
        assert stream.take(packet_of(place * STEP_NS + late, "h264", data), place)


@pytest.mark.parametrize("codec", ["h264", "av1", "vp9"])
def test_damage_spoils_what_follows(videos, codec):
    packets = list(videos[codec])
    place, is_key, data = packets[3]
    packets[3] = (place, is_key, data[: len(data) // 2])
    found = play(codec, packets)
    assert reasons(found) == {
        3: Reason.TRUNCATED_DATA,
        **dict.fromkeys(range(4, 8), Reason.LOST_REFERENCE),
    }


def test_sizes_may_change_in_the_middle():
    for codec in CODECS:
        small = encode(codec, pictures(5, (64, 96)))
        large = encode(codec, pictures(5, (128, 160)))
        found = play(codec, small + [(place + 5, key, data) for place, key, data in large])
        assert [found[place].shape for place in (4, 5)] == [(64, 96, 3), (128, 160, 3)]
        assert np.array_equal(found[9], decode(codec, large)[4])


def test_a_publisher_may_change_its_codec(videos):
    stream = VideoStream()
    found = []
    for codec in ("h264", "h265", "h264"):
        for place, _, data in videos[codec][:2]:
            found += stream.take(packet_of(place, codec, data), codec)
    assert [each.token for each in found] == ["h264"] * 2 + ["h265"] * 2 + ["h264"] * 2


@pytest.mark.parametrize(
    ("space", "limited", "weights"),
    [
        ("bt709", True, (0.2126, 0.7152, 0.0722)),
        ("smpte170m", True, (0.299, 0.587, 0.114)),
        ("bt709", False, (0.2126, 0.7152, 0.0722)),
    ],
)
def test_colours_are_as_the_video_says(space, limited, weights):
    """Convert by the formulas of ITU-R BT.601 and BT.709."""
    color = np.array([180.0, 60.0, 30.0])
    luma = np.dot(weights, color)
    kr, _, kb = weights
    chroma = [(color[2] - luma) / (2 - 2 * kb), (color[0] - luma) / (2 - 2 * kr)]
    planes = [
        16 + luma * 219 / 255 if limited else luma,
        *(128 + each * (224 / 255 if limited else 1) for each in chroma),
    ]
    stored = np.concatenate(
        [np.full(64 * 64, planes[0]), *(np.full(32 * 32, each) for each in planes[1:])]
    )
    picture = np.rint(stored).astype(np.uint8).reshape(96, 64)
    context = av.CodecContext.create("libx264", "w")
    context.width = context.height = 64
    context.pix_fmt = "yuv420p"
    context.time_base = 1
    context.options = {
        "tune": "zerolatency",
        "qp": "0",
        "colorspace": space,
        "color_range": "tv" if limited else "pc",
    }
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    found = play("h264", [(0, True, bytes(packets[0]))])[0]
    assert np.abs(found.reshape(-1, 3) - color).max() <= 3
