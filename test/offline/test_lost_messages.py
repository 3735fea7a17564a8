"""What a recorder says it lost, from bags that rosbags wrote to counts by hand."""

import json
import re
import sqlite3
import struct
from contextlib import closing

import numpy as np
import pytest
from image_files import mono8
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from deeplab_miou import cli, exit_codes
from deeplab_miou.bags.lost_messages import read_lost_messages
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.evaluation import evaluate as evaluate_bag
from deeplab_miou.offline.parts import divide, merge, score_section
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

SECOND = 1_000_000_000
START = 100 * SECOND
FRAMES = 6
TOPIC = "/events/rosbag2_messages_lost"
EVENT = "rosbag2_interfaces/msg/MessagesLostEvent"
STATISTIC = "rosbag2_interfaces/msg/MessagesLostEventTopicStat"
DEFINITIONS = {
    STATISTIC: """# The name of the topic on which the messages were lost
string topic_name
# The number of messages lost since the last event on a DDS transport layer
uint64 messages_lost_in_transport
# The number of messages lost since the last event in the recorder
uint64 messages_lost_in_recorder
""",
    EVENT: """# The fully qualified name of the node sending the event
string node_name
MessagesLostEventTopicStat[] messages_lost_statistics
""",
}
STORE = get_typestore(Stores.ROS2_JAZZY)
for name, text in DEFINITIONS.items():
    STORE.register(get_types_from_msg(text, name))


def event(*lost, recorder="/rosbag2_recorder", little_endian=True):
    """Return an event about (topic, in transport, in the recorder)."""
    statistics = [STORE.types[STATISTIC](*each) for each in lost]
    message = STORE.types[EVENT](recorder, statistics)
    return bytes(STORE.serialize_cdr(message, EVENT, little_endian=little_endian))


def write_bag(path, events=(), *, topic=TOPIC, type_name=EVENT, **options):
    """Write six frames, one of them without a label, and events (second, data)."""
    pending = sorted(events, key=lambda each: each[0])
    with BagWriter(path, typestore=STORE, **options) as writer:
        for k in range(FRAMES):
            ids = np.full((8, 12), k, np.uint8)
            stamp_ns = START + k * SECOND
            writer.write_image("/prediction", stamp_ns, "", mono8(ids))
            if k:
                writer.write_image("/labels", stamp_ns, "", mono8(ids))
            while pending and pending[0][0] < k + 1:
                at_s, data = pending.pop(0)
                writer.write(topic, type_name, START + round(at_s * SECOND), data)


@pytest.fixture
def evaluate(tmp_path, capsys):
    """Evaluate bags; returns the report and what was printed."""

    def run(*options, bags=("bag",), code=exit_codes.OK):
        arguments = ["evaluate", *(tmp_path / bag for bag in bags)]
        arguments += ["--prediction-topic", "/prediction", "--label-topic", "/labels"]
        arguments += ["--labels", "cityscapes_train_ids", "--output", tmp_path / "out", *options]
        capsys.readouterr()
        assert cli.main(list(map(str, arguments))) == code
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        for counts in report["accounting"].values():
            ended = counts["evaluated"] + counts["waiting"] + sum(counts["dropped"].values())
            assert counts["received"] == ended
        return report, capsys.readouterr().out

    return run


def lost_of(report):
    return [each["dropped"].get("lost_by_recorder", 0) for each in report["accounting"].values()]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("topic", [TOPIC, f"/robot/front{TOPIC}"])
def test_losses_add_up_in_the_account(evaluate, tmp_path, storage, topic):
    events = [
        (1.5, event(("/prediction", 2, 0), ("/imu", 70, 80))),
        (2.5, event(("/labels", 0, 4), ("/prediction", 1, 3))),
        (4.5, event(("/labels", 5, 0), little_endian=False)),
        (4.6, event()),
    ]
    write_bag(tmp_path / "bag", events, topic=topic, storage=storage)
    report, shown = evaluate()
    assert (report["frames"], report["miou"], report["damaged"]) == (5, 1.0, False)
    assert report["accounting"] == {
        "images": {
            "received": 12,
            "evaluated": 5,
            "waiting": 0,
            "dropped": {"unmatched_image": 1, "lost_by_recorder": 6},
        },
        "labels": {
            "received": 14,
            "evaluated": 5,
            "waiting": 0,
            "dropped": {"lost_by_recorder": 9},
        },
    }
    lost = "lost while the bag was recorded"
    lines = [
        f"messages of topic '/prediction' {lost}: 3 in transport, 3 in the recorder",
        f"messages of topic '/labels' {lost}: 5 in transport, 4 in the recorder",
    ]
    assert report["problems"] == lines
    for line in lines:
        assert f"incomplete: {line}\n" in shown
    assert "12 received = 5 evaluated + 1 unmatched_image + 6 lost_by_recorder" in shown
    for page in ("report.html", "report.md"):
        content = (tmp_path / "out" / page).read_text()
        assert re.search(r"lost.?_by.?_recorder", content), page
        assert "3 in transport, 3 in the recorder" in content


def test_a_bag_without_losses_says_nothing(evaluate, tmp_path):
    write_bag(tmp_path / "bag", [(1, event(("/imu", 3, 3), ("/labels", 0, 0)))])
    report, shown = evaluate()
    assert (lost_of(report), report["problems"]) == ([0, 0], [])
    assert "lost_by_recorder" not in shown


def test_a_criterion_can_be_about_them(evaluate, tmp_path):
    write_bag(tmp_path / "bag", [(1, event(("/labels", 1, 1)))])
    criteria = tmp_path / "criteria.yaml"
    line = "score: labels_dropped, reason: lost_by_recorder, at_most: 1"
    criteria.write_text(f"criteria:\n  - {{{line}}}\n")
    evaluate("--criteria", criteria, code=exit_codes.NOT_GOOD_ENOUGH)


@pytest.mark.parametrize(
    ("section", "frames", "lost"),
    [
        (("--start", "2", "--duration", "3"), 3, 1100),
        (("--duration", "3"), 2, 11),
        (("--start", "3"), 3, 111000),
    ],
)
def test_a_section_has_the_losses_told_of_meanwhile(evaluate, tmp_path, section, frames, lost):
    events = [(k + 0.5, event(("/prediction", 10**k, 0))) for k in range(FRAMES)]
    write_bag(tmp_path / "bag", events)
    report, _ = evaluate(*section)
    assert report["frames"] == frames
    assert lost_of(report) == [lost, 0]


def test_several_recorders_are_named(evaluate, tmp_path):
    events = [(k, event(("/labels", 1, 0), recorder=f"/recorder_{k}")) for k in range(2)]
    write_bag(tmp_path / "bag", events)
    report, _ = evaluate()
    assert lost_of(report) == [0, 2]
    (problem,) = report["problems"]
    assert "('/recorder_0', '/recorder_1'), some may be missing from other bags" in problem


GOOD = event(("/labels", 2, 1))
BAD = {
    "empty": b"",
    "header only": GOOD[:4],
    "truncated": GOOD[:-5],
    "longer": GOOD + bytes(8),
    "another encapsulation": b"\x00\x07" + GOOD[2:],
    "no UTF-8": GOOD.replace(b"/labels", b"\xff\xfe\xfdbels"),
    "text": b"lost everything, sorry" * 9,
    "2^64-1": event(("/labels", 2**64 - 1, 0)),
    "2^64-1 of another topic": event(("/imu", 0, 2**64 - 1), ("/labels", 1, 1)),
    "thousands of topics": event(*((f"/{k}", 1, 1) for k in range(5000)), ("/labels", 1, 1)),
    "2^32-1 topics": GOOD.replace(struct.pack("<I", 1), struct.pack("<I", 2**32 - 1), 1),
    "megabytes": event(("/" + "x" * 2**21, 1, 1)),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_event_is_ignored_and_told(evaluate, tmp_path, bad):
    write_bag(tmp_path / "bag", [(1, GOOD), (2, BAD[bad]), (3, GOOD), (4, BAD[bad])])
    report, _ = evaluate()
    assert (report["frames"], report["damaged"]) == (5, False)
    assert lost_of(report) == [0, 6]
    counted, told = report["problems"]
    assert counted.endswith("4 in transport, 2 in the recorder")
    assert told.startswith(f"2 reports of lost messages on topic '{TOPIC}' ignored, so")
    assert len(told) < 400


def test_cut_and_changed_bytes_never_raise(tmp_path):
    random = np.random.default_rng(5)
    whole = event(("/labels", 2, 1), ("/prediction", 1, 0))
    changed = [whole[:size] for size in range(len(whole))]
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        changed.append(bytes(data))
    write_bag(tmp_path / "bag", [(k / 1000, data) for k, data in enumerate(changed)])
    with BagReader(tmp_path / "bag") as reader:
        losses = read_lost_messages(reader, ["/labels", "/prediction"])
    assert all(0 < each.total < 10**9 * len(changed) * 2 for each in losses.of_topics.values())
    assert len(losses.problems) == 1


@pytest.mark.parametrize("type_name", ["std_msgs/msg/String", "sensor_msgs/msg/Image"])
def test_another_type_under_that_name_is_ignored_and_told(evaluate, tmp_path, type_name):
    write_bag(tmp_path / "bag", [(1, GOOD)], type_name=type_name)
    report, _ = evaluate()
    assert (report["frames"], lost_of(report)) == (5, [0, 0])
    (problem,) = report["problems"]
    assert f"topic '{TOPIC}' ignored" in problem
    assert f"of type '{type_name}'" in problem
    assert f"expected {EVENT}" in problem


def test_a_cut_bag_counts_what_can_be_read(evaluate, tmp_path):
    write_bag(tmp_path / "bag", [(1, GOOD), (5, GOOD)])
    (file,) = (tmp_path / "bag").glob("*.mcap")
    content = file.read_bytes()
    # The second event is cut; all behind it, the index too, is gone.
    file.write_bytes(content[: content.rindex(GOOD) + 10])
    report, _ = evaluate(code=exit_codes.DAMAGED_BAG)
    assert report["damaged"]
    assert lost_of(report) == [0, 3]


def test_an_event_that_cannot_be_decompressed_damages_no_image(evaluate, tmp_path):
    events = [(1, GOOD), (3, GOOD)]
    write_bag(tmp_path / "bag", events, storage="sqlite3", compression="message")
    (file,) = (tmp_path / "bag").glob("*.db3")
    with closing(sqlite3.connect(file)) as database, database:
        changed = database.execute(
            "UPDATE messages SET data = substr(data, 1, 20) WHERE timestamp = ? AND topic_id = "
            "(SELECT id FROM topics WHERE name = ?)",
            (START + 3 * SECOND, TOPIC),
        )
        assert changed.rowcount == 1
    report, _ = evaluate()
    assert (report["frames"], report["damaged"], lost_of(report)) == (5, False, [0, 3])
    assert "not all reports of lost messages can be read" in report["problems"][1]


def test_bags_add_up(evaluate, tmp_path):
    write_bag(tmp_path / "a", [(1, event(("/labels", 2, 1)))])
    write_bag(tmp_path / "b", [(1, event(("/labels", 4, 0), ("/prediction", 0, 5)))])
    write_bag(tmp_path / "c")
    report, _ = evaluate(bags="abc")
    assert report["frames"] == 15
    assert lost_of(report) == [5, 7]
    assert report["accounting"]["labels"]["received"] == 15 + 7
    assert [line.partition(":")[0] for line in report["problems"]] == ["a", "b"]


def test_parts_have_the_losses_of_the_whole_once(tmp_path):
    write_bag(tmp_path / "bag", [(1, event(("/labels", 2, 1))), (4, event(("/labels", 5, 0)))])
    options = OfflineOptions(
        bag=str(tmp_path / "bag"),
        engine=EngineOptions(source="topic", labels="cityscapes_train_ids"),
        prediction_topic="/prediction",
        label_topic="/labels",
    )
    engine = build_engine(options.engine)
    division = divide(options, engine, 2)
    parts = [score_section(options, engine, section) for section in division.sections]
    assert len(parts) == 3
    merged = merge(options, engine, division, parts, None).report.to_dict()
    whole = evaluate_bag(options, engine=engine).report.to_dict()
    assert lost_of(merged) == lost_of(whole) == [0, 8]
    assert merged["accounting"] == whole["accounting"]
    assert merged["problems"] == whole["problems"] != []


def test_inspect_tells_of_them(tmp_path, capsys):
    write_bag(tmp_path / "bag", [(1, event(("/labels", 2, 1))), (2, b"")])
    assert cli.main(["inspect", str(tmp_path / "bag"), "--format", "json"]) == exit_codes.OK
    found = json.loads(capsys.readouterr().out)
    assert found["topics"][TOPIC] == f"2 {EVENT}"
    assert found["lost_by_recorder"] == {"/labels": "2 in transport, 1 in the recorder"}
    assert len(found["problems"]) == 1
    assert cli.main(["inspect", str(tmp_path / "bag")]) == exit_codes.OK
    assert "  /labels: 2 in transport, 1 in the recorder\n" in capsys.readouterr().out


def test_inspect_claims_nothing_where_nothing_is_reported(tmp_path, capsys):
    write_bag(tmp_path / "bag")
    assert cli.main(["inspect", str(tmp_path / "bag")]) == exit_codes.OK
    assert "lost" not in capsys.readouterr().out.replace(str(tmp_path), "")
