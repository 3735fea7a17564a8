from __future__ import annotations

import json

import pytest

from deeplab_miou import cli
from deeplab_miou.labels.label_map import available_label_maps, load_label_map

ROBOT = """\
name: warehouse
classes:
  - {name: floor, color: [1, 2, 3]}
  - {name: pallet rack, color: [4, 5, 6]}
  - {name: forklift, color: [7, 8, 9]}
"""
# As Isaac Sim's ROS2PublishSemanticLabels publishes it in a std_msgs/String.
SEMANTIC_LABELS = {
    "0": {"class": "BACKGROUND"},
    "1": {"class": "UNLABELLED"},
    "2": {"class": "Floor,ground"},
    "7": {"class": "pallet_rack"},
    "300": {"class": "pallet_rack"},
    "8": {"class": "lamp"},
    "time_stamp": {"sec": 4, "nanosec": 5},
}


@pytest.fixture
def robot(tmp_path):
    path = tmp_path / "warehouse.yaml"
    path.write_text(ROBOT)
    return path


def ids_file(tmp_path, content=SEMANTIC_LABELS):
    path = tmp_path / "ids.json"
    # `ros2 topic echo --field data` prints a line of dashes after it.
    path.write_text(f"{json.dumps(content)}\n---\n")
    return path


def test_all_maps_are_listed_with_what_they_are(capsys):
    assert cli.main(["labels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == available_label_maps()
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("name", available_label_maps())
def test_each_shipped_map_is_shown_class_by_class(name, capsys):
    assert cli.main(["labels", name]) == 0
    out = capsys.readouterr().out
    assert all(class_name in out for class_name in load_label_map(name).class_names)


def test_what_is_shown_of_a_map(capsys):
    assert cli.main(["labels", "carla_tags"]) == 0
    out = capsys.readouterr().out
    assert "id_channel: red" in out
    assert "  0  road                     128, 64, 128    1, 24\n" in out
    assert "  -  unlabeled                0, 0, 0         0\n" in out


def test_ids_that_a_simulator_gave_out_are_put_in(robot, tmp_path, capsys):
    assert cli.main(["labels", str(robot), "--ids", str(ids_file(tmp_path))]) == 0
    captured = capsys.readouterr()
    assert captured.err == "no id is given for: forklift\n"
    today = tmp_path / "today.yaml"
    today.write_text(captured.out)
    label_map = load_label_map(today)
    assert label_map.class_names == ("floor", "pallet rack", "forklift")
    assert [entry.ids for entry in label_map.classes] == [(2,), (7, 300), ()]
    assert [entry.ids for entry in label_map.ignored] == [(0,), (1,), (8,)]
    assert label_map.palette.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"5": {"class": "sofa"}}, "name no class of label map warehouse: they name sofa"),
        ({"time_stamp": {}}, "hold no id, expected"),
        ("text", "are not a JSON object"),
    ],
)
def test_ids_that_do_not_fit_are_one_line(robot, tmp_path, capsys, content, message):
    assert cli.main(["labels", str(robot), "--ids", str(ids_file(tmp_path, content))]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_ids_need_a_map_and_a_file(tmp_path, capsys):
    assert cli.main(["labels", "--ids", str(tmp_path / "none.json")]) == 1
    assert "--ids needs MAP" in capsys.readouterr().err
    assert cli.main(["labels", "demo", "--ids", str(tmp_path / "none.json")]) == 1
    assert "none.json cannot be read: No such file" in capsys.readouterr().err
    assert cli.main(["labels", "nonsense"]) == 1
    assert "nonsense is neither a file nor one of" in capsys.readouterr().err
