"""Videos in bags: through the command, to the counts of the same pictures stored as raw images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from image_files import mono8, raw_image
from video_files import BIDIRECTIONAL, decode, encode, pictures
from video_messages import DEFINITIONS, FFMPEG, FOXGLOVE, STORE, serialise

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.offline.evaluation import evaluate as evaluate_bag
from deeplab_miou.offline.parts import divide, merge, score_section
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

COUNT = 20
START = 50_000_000_000
STEP = 33_333_333
IMAGES, LABELS = "/camera/image/video", "/camera/labels"
IDS = np.array([entry.ids[0] for entry in load_label_map("demo").classes], np.uint8)
LABELLED = [1, 4, 7, 10, 11, 13, 16, 19]


def truth(k):
    return IDS[np.random.default_rng(k).integers(0, 8, (96, 128))]


def stamp(k):
    return START + k * STEP


def write_video(path, codec, packets, *, kind=FOXGLOVE, encoding=None, late=0, **options):
    """Write packets as they come, and each label after its picture by so many steps."""
    last = max(place for place, *_ in packets)
    waiting = list(LABELLED)
    with BagWriter(path, typestore=STORE, **options) as writer:
        for k, (place, _, data) in enumerate(packets):
            message = serialise(kind, stamp(place), encoding or codec, data, place)
            writer.write(IMAGES, kind, stamp(k), message)
            while waiting and waiting[0] + late <= k:
                label = waiting.pop(0)
                labels = mono8(truth(label))
                writer.write_image(LABELS, stamp(label), "", labels, timestamp_ns=stamp(k) + 1)
        for label in waiting:
            writer.write_image(
                LABELS, stamp(label), "", mono8(truth(label)), timestamp_ns=stamp(last) + 2
            )


def write_raw(path, found, labelled=LABELLED):
    """Write decoded pictures, and labels of some of them."""
    with BagWriter(path) as writer:
        for k, picture in sorted(found.items()):
            writer.write_image(IMAGES, stamp(k), "", raw_image(picture, "rgb8"))
            if k in labelled:
                writer.write_image(LABELS, stamp(k), "", mono8(truth(k)))


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Evaluate a bag; returns the report."""

    def run(bag, *options, code=exit_codes.OK):
        arguments = ["evaluate", tmp_path / bag, "--checkpoint", "demo", "--format", "json"]
        arguments += ["--image-topic", IMAGES, "--label-topic", LABELS, *options]
        capsys.readouterr()
        assert cli.main(list(map(str, arguments))) == code
        printed = capsys.readouterr()
        if not printed.out:
            return printed.err
        report = json.loads(printed.out)
        for counts in report["accounting"].values():
            ended = counts["evaluated"] + counts["waiting"] + sum(counts["dropped"].values())
            assert counts["received"] == ended
        return report

    return run


def dropped(report):
    return {name: each["dropped"] for name, each in report["accounting"].items()}


def test_definitions_are_upstreams():
    """The order of fields decides how bytes are read."""
    text = (DEFINITIONS / "foxglove_msgs" / "CompressedVideo.msg").read_text()
    assert [line.split()[1] for line in text.splitlines()] == [
        "timestamp",
        "frame_id",
        "data",
        "format",
    ]


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("h264", {"storage": "mcap"}),
        ("h264", {"kind": FFMPEG, "encoding": "libx264;yuv420p;bgr8;rgb8", "storage": "sqlite3"}),
        ("h265", {"kind": FFMPEG, "encoding": "hevc_nvenc;nv12;bgr8;bgr8"}),
        ("av1", {}),
        ("vp9", {}),
    ],
)
def test_a_video_scores_as_its_pictures_do(evaluate, tmp_path, codec, message):
    packets = encode(codec, pictures(COUNT))
    write_video(tmp_path / "video", codec, packets, **message)
    write_raw(tmp_path / "raw", decode(codec, packets))
    report, expected = evaluate("video"), evaluate("raw")
    assert report["frames"] == len(LABELLED)
    assert report["confusion"] == expected["confusion"]
    assert report["accounting"] == expected["accounting"]
    assert np.sum(report["confusion"]) == 96 * 128 * len(LABELLED)


@pytest.mark.parametrize(("codec", "late"), [("h264", 0), ("h264", 100), ("h265", 7), ("av1", 0)])
def test_b_frames_and_late_labels(evaluate, tmp_path, codec, late):
    packets = encode(codec, pictures(COUNT), BIDIRECTIONAL[codec], b_frames=2, gop=10)
    write_video(tmp_path / "video", codec, packets, late=late)
    write_raw(tmp_path / "raw", decode(codec, packets))
    report, expected = evaluate("video"), evaluate("raw")
    assert report["frames"] == len(LABELLED)
    assert report["confusion"] == expected["confusion"]


def test_a_recording_that_began_in_the_middle(evaluate, tmp_path):
    packets = encode("h264", pictures(COUNT))
    write_video(tmp_path / "video", "h264", packets[5:])
    found = decode("h264", packets)
    write_raw(tmp_path / "raw", {k: found[k] for k in range(8, COUNT)})
    report, expected = evaluate("video"), evaluate("raw")
    assert report["confusion"] == expected["confusion"]
    # Pictures 5, 6 and 7 come before the key frame; the labels of all before it have no image.
    labels = {"unmatched_label": len([k for k in LABELLED if k < 8])}
    images = {
        "no_key_frame": 3,
        "unmatched_image": len([k for k in range(8, COUNT) if k not in LABELLED]),
    }
    assert dropped(report) == {"images": images, "labels": labels}


def test_a_lost_packet_costs_the_pictures_that_build_on_it(evaluate, tmp_path):
    packets = encode("h264", pictures(COUNT))
    write_video(tmp_path / "video", "h264", [each for each in packets if each[0] != 10])
    found = decode("h264", packets)
    lost = range(10, 16)
    write_raw(tmp_path / "raw", {k: found[k] for k in range(COUNT) if k not in lost})
    report, expected = evaluate("video"), evaluate("raw")
    assert report["confusion"] == expected["confusion"]
    assert dropped(report)["images"]["lost_reference"] == 5
    assert dropped(report)["labels"] == {"unmatched_label": len([k for k in LABELLED if k in lost])}


def test_a_damaged_packet_costs_its_pair_and_those_that_build_on_it(evaluate, tmp_path):
    packets = encode("h264", pictures(COUNT))
    place, is_key, data = packets[10]
    packets[10] = (place, is_key, data[: len(data) // 2])
    write_video(tmp_path / "video", "h264", packets)
    counts = dropped(evaluate("video"))
    pairs = {"truncated_data": 1, "lost_reference": len([k for k in LABELLED if 10 < k < 16])}
    assert counts["labels"] == pairs
    assert {name: counts["images"][name] for name in pairs} == pairs


def test_a_section_begins_with_the_key_frame_before_it(evaluate, tmp_path):
    packets = encode("h265", pictures(COUNT))
    write_video(tmp_path / "video", "h265", packets)
    write_raw(tmp_path / "raw", decode("h265", packets))
    section = ("--start", 10 * STEP / 1e9, "--duration", 3 * STEP / 1e9)
    report, expected = evaluate("video", *section), evaluate("raw", *section)
    assert report["frames"] == len([k for k in LABELLED if 10 <= k < 13])
    assert report["confusion"] == expected["confusion"]


@pytest.mark.parametrize(
    ("codec", "b_frames"), [("h264", 0), ("h265", 0), ("h264", 2), ("h265", 2)]
)
def test_parts_of_a_bag_give_what_the_whole_gives(tmp_path, codec, b_frames):
    """With damage in the middle, so that a part begins where nothing can be decoded."""
    options = BIDIRECTIONAL[codec] if b_frames else None
    packets = encode(codec, pictures(COUNT), options, b_frames=b_frames, gop=6)
    write_video(tmp_path / "video", codec, [each for k, each in enumerate(packets) if k != 8])
    options = OfflineOptions(
        bag=str(tmp_path / "video"),
        image_topic=IMAGES,
        label_topic=LABELS,
        engine=EngineOptions(checkpoint="demo"),
    )
    engine = build_engine(options.engine)
    whole = evaluate_bag(options, engine=engine).report.to_dict()
    division = divide(options, engine, 2)
    assert len(division.sections) >= 3
    parts = [score_section(options, engine, each) for each in division.sections]
    merged = merge(options, engine, division, parts, None).report.to_dict()
    assert merged["accounting"] == whole["accounting"]
    assert merged["confusion"] == whole["confusion"]
    assert "lost_reference" in whole["accounting"]["images"]["dropped"]
    engine.close()


def test_only_what_pairs_need_is_decoded(tmp_path, evaluate, monkeypatch):
    from deeplab_miou.video.decoder import Decoder  # noqa: PLC0415

    seen = []
    plain = Decoder.decode

    def note(self, data, token, *, is_key):
        seen.append(is_key)
        return plain(self, data, token, is_key=is_key)

    monkeypatch.setattr(Decoder, "decode", note)
    packets = encode("h264", pictures(COUNT))
    with BagWriter(tmp_path / "video", typestore=STORE) as writer:
        for place, _, data in packets:
            writer.write(
                IMAGES, FOXGLOVE, stamp(place), serialise(FOXGLOVE, stamp(place), "h264", data)
            )
        writer.write_image(LABELS, stamp(10), "", mono8(truth(10)))
    assert evaluate("video")["frames"] == 1
    assert seen == [True, False, False]


def test_labels_cannot_be_a_video(tmp_path, evaluate):
    packets = encode("h264", pictures(3))
    write_video(tmp_path / "video", "h264", packets)
    line = evaluate(
        "video", "--label-topic", IMAGES, "--image-topic", LABELS, code=exit_codes.WRONG
    )
    assert "is a video (foxglove_msgs/msg/CompressedVideo), which changes ids and colours" in line


def test_without_pyav_a_line_says_what_to_install(tmp_path, evaluate, monkeypatch):
    write_video(tmp_path / "video", "h264", encode("h264", pictures(3)))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    line = evaluate("video", code=exit_codes.WRONG)
    assert "pip install -r requirements-video.txt" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_video_sent_as_compressed_images_is_told_so(tmp_path, capsys, codec):
    kind = "sensor_msgs/msg/CompressedImage"
    types = STORE.types
    with BagWriter(tmp_path / "video") as writer:
        for place, _, data in encode(codec, pictures(4)):
            time = types["builtin_interfaces/msg/Time"](*divmod(stamp(place), 10**9))
            header = types["std_msgs/msg/Header"](time, "camera")
            message = types[kind](header, codec, np.frombuffer(data, np.uint8))
            writer.write(IMAGES, kind, stamp(place), bytes(STORE.serialize_cdr(message, kind)))
            writer.write_image(LABELS, stamp(place), "", mono8(truth(place)))
    arguments = ["evaluate", str(tmp_path / "video"), "--checkpoint", "demo"]
    arguments += ["--image-topic", IMAGES, "--label-topic", LABELS]
    assert cli.main(arguments) == exit_codes.NOTHING_EVALUATED
    printed = capsys.readouterr().out
    assert "4 received = 0 evaluated + 4 bad_encoding" in printed
    (line,) = (each for each in printed.splitlines() if each.startswith("first bad_encoding"))
    assert f"format '{codec}'" in line
    assert line.endswith("publish those as foxglove_msgs/msg/CompressedVideo")


def test_avcc_is_refused_with_what_to_do(tmp_path, evaluate):
    packets = encode("h264", pictures(COUNT))
    wrapped = []
    for place, is_key, data in packets:
        units = [each for each in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if each]
        joined = b"".join(len(each).to_bytes(4, "big") + each for each in units)
        wrapped.append((place, is_key, joined))
    write_video(tmp_path / "video", "h264", wrapped)
    report = evaluate("video", code=exit_codes.NOTHING_EVALUATED)
    assert dropped(report)["images"] == {"bad_encoding": COUNT}
