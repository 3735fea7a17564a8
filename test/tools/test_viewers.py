"""What ships for Foxglove shows fields and topics that there are."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from deeplab_miou.watch.rqt_perspective import adapted_perspective
from viewers.fields import TOPICS, FieldError, definitions, type_of
from viewers.rqt_perspective import perspective

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = ROOT / "config" / "foxglove_layout.json"
COMPARISON = ROOT / "config" / "foxglove_comparison_layout.json"
PERSPECTIVE = ROOT / "config" / "deeplab_miou.perspective"
RESULT = "/miou_publisher/result"
NUMBERS = {"float32", "float64", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}


def panels(layout=LAYOUT):
    return json.loads(layout.read_text(encoding="utf-8"))["configById"]


def paths(panel):
    """Return all paths and topics that a panel shows."""
    found = [series["value"] for series in panel.get("paths", [])]
    for key in ("topicPath", "topicToRender"):
        found += [panel[key]] if panel.get(key) else []
    found += [panel["imageMode"]["imageTopic"]] if "imageMode" in panel else []
    return found


def strings(content):
    """Return all strings in what was JSON."""
    if isinstance(content, str):
        return [content]
    inner = content.values() if isinstance(content, dict) else content
    parts = inner if isinstance(content, (dict, list)) else []
    return [text for part in parts for text in strings(part)]


def test_the_layouts_that_ship_are_what_the_generator_makes():
    pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
    from viewers.foxglove_comparison import comparison_layout  # noqa: PLC0415
    from viewers.foxglove_layout import layout  # noqa: PLC0415

    fresh = "run `PYTHONPATH=tools python -m viewers`"
    assert LAYOUT.read_text(encoding="utf-8") == layout(), fresh
    assert COMPARISON.read_text(encoding="utf-8") == comparison_layout(), fresh


@pytest.mark.parametrize("layout", [LAYOUT, COMPARISON])
def test_every_path_of_the_layout_leads_to_what_its_panel_draws(layout):
    fields = definitions()
    shown = []
    for key, panel in panels(layout).items():
        kind = key.partition("!")[0]
        for path in paths(panel):
            found = type_of(path, fields, TOPICS)
            shown.append(path)
            if kind == "Plot":
                assert found.removesuffix("[]") in NUMBERS, path
                assert found.endswith("[]") == (panel["xAxisVal"] == "index"), path
            elif kind == "Image":
                assert found == "sensor_msgs/msg/Image", path
            elif kind == "Table":
                assert found.startswith("deeplab_miou_msgs/msg/"), path
                assert found.endswith("[]"), path
            elif kind == "StateTransitions":
                assert found == "string", path
            elif kind.startswith("Diagnostic"):
                assert found == "diagnostic_msgs/msg/DiagnosticArray", path
    # None was missed: whatever looks like a path is one of these.
    named = {each for each in strings(panels(layout)) if re.match(r"/[^: ]+(\[:\]|$)", each)}
    assert named == set(shown)
    if layout == LAYOUT:
        bounds = ("miou", "miou_lower", "miou_upper", "miou_anytime_lower", "miou_anytime_upper")
        expected = [f"/miou_publisher/result.{each}" for each in (*bounds, "regions")]
    else:
        bounds = ("difference", "lower", "upper", "anytime_lower", "anytime_upper", "verdict")
        expected = [f"/miou_comparer/comparison.{each}" for each in bounds]
    assert set(expected) <= set(shown)


def test_scores_are_plotted_over_the_whole_of_a_recording():
    # Where a click goes to the moment.
    for path in ("/deeplab_evaluator/frame.miou", "/miou_publisher/result.miou_lower"):
        (plot,) = [each for each in panels().values() if path in paths(each)]
        assert (plot["xAxisVal"], plot["timeWindowMode"]) == ("timestamp", "automatic")
        assert "followingViewWidth" not in plot


def test_dropped_frames_do_not_cover_the_plots_of_the_others():
    # They have no pixels and took no time: a line that falls to 0 for each hides the rest.
    frame = "/deeplab_evaluator/frame"
    plotted = [
        path
        for key, panel in panels().items()
        if key.startswith("Plot!")
        for path in paths(panel)
        if path.startswith(frame)
    ]
    evaluated = [path for path in plotted if path.startswith(f'{frame}{{outcome=="evaluated"}}.')]
    # A dropped frame has no mIoU: it is NaN, which is not drawn.
    assert set(plotted) - set(evaluated) == {f"{frame}.miou"}
    assert len(evaluated) == 6


def test_a_field_or_topic_that_is_gone_is_noticed():
    fields = definitions()
    constants, known = fields["deeplab_miou_msgs/msg/MeanIoU"]
    gone = [each for each in known if each[0] != "miou_lower"]
    with pytest.raises(FieldError, match="has no field miou_lower"):
        type_of(
            "/miou_publisher/result.miou_lower",
            {**fields, "deeplab_miou_msgs/msg/MeanIoU": (constants, gone)},
            TOPICS,
        )
    for path in (
        "/publisher/result.miou",
        "/miou_publisher/result.miou[0]",
        "/miou_publisher/result.miou.x",
        "/miou_publisher/result.classes[:].area",
        '/miou_publisher/result.classes[:]{label=="car"}.iou',
        '/deeplab_evaluator/frame{result=="evaluated"}.latency_seconds',
        '/deeplab_evaluator/frame{outcome=="evaluated"}.latency',
    ):
        with pytest.raises(FieldError):
            type_of(path, fields, TOPICS)


def test_the_topics_are_those_that_the_nodes_publish():
    types = {"image": "sensor_msgs/msg/Image", "diagnostics": "diagnostic_msgs/msg/DiagnosticArray"}
    published = {"/diagnostics": types["diagnostics"]}
    for folder, node in (
        ("evaluator", "/deeplab_evaluator"),
        # As compare.launch.py names them, which test/launch holds.
        ("evaluator", "/deeplab_evaluator_a"),
        ("evaluator", "/deeplab_evaluator_b"),
        ("publisher", "/miou_publisher"),
        ("comparer", "/miou_comparer"),
    ):
        source = (ROOT / "deeplab_miou" / "nodes" / folder / "outputs.py").read_text()
        for kind, name in re.findall(r'create_publisher\((\w+), "~/(\w+)"', source):
            full = types["image"] if kind == "Image" else f"deeplab_miou_msgs/msg/{kind}"
            published[f"{node}/{name}"] = full
    assert TOPICS.items() <= published.items()
    # A plot of one would draw the other: rqt_plot takes the first topic that a path begins with.
    for one in published:
        assert not [each for each in published if each.startswith(f"{one}/")]


@pytest.mark.parametrize("layout", [LAYOUT, COMPARISON])
def test_panels_and_places_belong_together(layout):
    def places(tree):
        if isinstance(tree, str):
            return [tree]
        return places(tree["first"]) + places(tree["second"])

    tabs = panels(layout)["Tab!tabs"]["tabs"]
    placed = [key for tab in tabs for key in places(tab["layout"])]
    assert sorted([*placed, "Tab!tabs"]) == sorted(panels(layout))
    assert json.loads(layout.read_text())["layout"] == "Tab!tabs"


def rqt_topics(text):
    """Return the topics of a perspective by plugin, read as rqt reads them."""
    manager = json.loads(text)["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    shown = {}
    for plugin, numbers in running.items():
        for number in numbers:
            name = f"plugin__{plugin.replace('/', '__')}__{number}"
            keys = manager["groups"][name]["groups"]["plugin"]["keys"]
            for key, value in keys.items():
                assert value["type"] == "repr"
                if key.startswith("topic"):
                    found = ast.literal_eval(value["repr"])
                    shown[plugin, number] = found if isinstance(found, list) else [found]
    return shown


def test_the_perspective_is_fresh_and_rqt_finds_what_it_shows():
    text = PERSPECTIVE.read_text(encoding="utf-8")
    assert text == perspective(), "run `PYTHONPATH=tools python -m viewers`"
    shown, fields = rqt_topics(text), definitions()
    for (plugin, _), topics in shown.items():
        for topic in topics:
            # rqt separates fields by slashes: the topic is the longest beginning that is one.
            known = max((each for each in TOPICS if f"{topic}/".startswith(f"{each}/")), key=len)
            path = known + topic.removeprefix(known).replace("/", ".")
            found = type_of(path, fields, TOPICS)
            expected = NUMBERS if plugin == "rqt_plot/Plot" else {"sensor_msgs/msg/Image"}
            assert found in expected, topic
    plotted = shown["rqt_plot/Plot", 1]
    assert "/miou_publisher/result/miou_lower" in plotted
    assert "/miou_publisher/window/miou" in plotted
    by_class = [topic for number in (2, 3, 4) for topic in shown["rqt_plot/Plot", number]]
    assert by_class == [f"{RESULT}/classes[{index}]/iou" for index in range(19)]


def test_a_plot_of_rqt_has_no_more_lines_than_its_legend_has_room_for():
    # rqt_plot gives the legend what it takes, and of 19 lines it left the plot no height at all.
    shown = rqt_topics(PERSPECTIVE.read_text(encoding="utf-8"))
    assert max(len(topics) for topics in shown.values()) <= 8


def test_the_window_has_a_place_for_every_plugin():
    text = PERSPECTIVE.read_text(encoding="utf-8")
    state = json.loads(text)["groups"]["mainwindow"]["keys"]["state"]["repr(QByteArray.hex)"]
    window = bytes.fromhex(re.search(r"b'(\w+)'", state)[1])
    for plugin, number in rqt_topics(text):
        name = f"{plugin.replace('/', '__')}__{number}__"
        assert name.encode("utf-16-be") in window, name


def test_a_perspective_is_adapted_to_nodes_and_classes():
    text = PERSPECTIVE.read_text(encoding="utf-8")
    names = {"publisher": "/test/scores", "evaluator": "/test/front"}
    shown = rqt_topics(adapted_perspective(text, **names, classes=3))
    expected = [f"/test/scores/result/classes[{index}]/iou" for index in range(3)]
    assert shown["rqt_plot/Plot", 2] == expected
    assert [number for plugin, number in shown if plugin == "rqt_plot/Plot"] == [1, 2]
    assert shown["rqt_plot/Plot", 1][0] == "/test/scores/result/miou"
    assert shown["rqt_image_view/ImageView", 1] == ["/test/front/overlay"]
    default = {"publisher": "/miou_publisher", "evaluator": "/deeplab_evaluator"}
    assert adapted_perspective(text, **default, classes=None) == text
