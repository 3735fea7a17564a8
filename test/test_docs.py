"""Holds README and docs to the code that they speak of."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from reports import report_of

from deeplab_miou import cli
from deeplab_miou.accounting import Reason
from deeplab_miou.bags import pack_command
from deeplab_miou.labels.label_map import available_label_maps, load_label_map
from deeplab_miou.metric.counts import Counts
from deeplab_miou.model.checkpoints import inspect_command
from deeplab_miou.offline import command
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.nodes import NODES

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
}
README = PAGES["README.md"]


def source(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```(?:{language})\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """Return the shell commands of a page, each as its words."""
    lines = "".join(blocks(text, "sh|bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def prose(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """Return the anchors of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def table(text, first_heading):
    """Return the rows of the table whose first column has a heading."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(f"| {first_heading} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(module):
    """Return the options of a subcommand."""
    parser = argparse.ArgumentParser()
    module.configure(parser)
    return {option for action in parser._actions for option in action.option_strings}


def launch_arguments(name):
    """Return the arguments that a launch file declares, read from its source."""
    names = set()
    for node in ast.walk(ast.parse(source(f"launch/{name}"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument":
            names |= {first.value for first in node.args[:1] if isinstance(first, ast.Constant)}
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id.endswith("_PARAMETERS")
        ):
            names |= {name.value for name in node.value.elts}
    return names


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[page])):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", generator().PAGES)
def test_what_is_generated_is_fresh(path):
    assert source(path) == generator().PAGES[path](), "run `python docs/generate.py`"


def test_the_page_on_messages_has_every_field():
    page = PAGES["docs/messages.md"]
    for path in ROOT.glob("deeplab_miou_msgs/msg/*.msg"):
        section = page.split(f"## {path.stem}\n")[1].split("\n## ")[0]
        code = [line.partition("#")[0].split() for line in source(path).splitlines()]
        assert [row[:2] for row in table(section, "Field")] == [
            [f"`{name}`", f"`{kind}`"] for kind, name in filter(None, code)
        ]


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    targets = set(re.findall(r"^([a-z]+):", source("Makefile"), re.MULTILINE))
    known = {each.name: options(importlib.import_module(each.module)) for each in cli.COMMANDS}
    evaluate = launch_arguments("evaluate.launch.py")
    arguments = {
        "evaluate.launch.py": evaluate,
        "replay.launch.py": evaluate | launch_arguments("replay.launch.py"),
        "compare.launch.py": evaluate
        | {"checkpoint_b", "source_b", "image_topic_b", "device_b"}
        | launch_arguments("compare.launch.py"),
    }
    for words in commands(PAGES[page]):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets
        elif Path(words[0]).name == "deeplab-miou":
            given = {word for word in words if word.startswith("--")}
            assert given <= known[words[1]], words
        elif words[:3] == ["ros2", "launch", "deeplab_miou"]:
            given = {word.partition(":=")[0] for word in words[4:] if ":=" in word}
            assert given <= arguments[words[3]], words
        elif words[:3] == ["ros2", "run", "deeplab_miou"]:
            assert f'"{words[3]} = ' in source("setup.py")


def test_the_readme_shows_what_there_is_to_run():
    shown = [" ".join(words[:4]) for words in commands(README)]
    for start in (
        "make demo",
        "make test",
        ".venv/bin/deeplab-miou evaluate",
        "ros2 launch deeplab_miou evaluate.launch.py",
        "ros2 launch deeplab_miou replay.launch.py",
    ):
        assert any(each.startswith(start) for each in shown), start


def test_every_subcommand_is_shown():
    assert all(f"deeplab-miou {each.name}" in README for each in cli.COMMANDS)


def test_who_makes_an_environment_has_what_it_needs():
    """Ubuntu's python3 has no venv, and an installed ROS 2 neither colcon nor rosdep."""
    for page in (README, PAGES["docs/install.md"]):
        (block,) = (each for each in blocks(page, "sh|bash") if "rosdep install" in each)
        first = block.splitlines()[0]
        assert first.startswith("sudo apt install")
        assert {"python3-venv", "ros-dev-tools"} <= set(first.split())
    # The images of ROS 2 contain colcon and rosdep.
    for name in ("docker/ros.Dockerfile", ".github/workflows/ros.yaml"):
        before, found, _ = source(name).partition("python3 -m venv")
        assert found
        assert re.search(r"apt-get install .*python3-venv", before)


def test_the_readmes_test_command_is_that_of_ci():
    assert ["make", "test"] in commands(README)
    steps = source(".ci/run")
    assert re.search(r"^\s*step test\b", steps, re.MULTILINE)
    assert re.search(r'make "\$[1@]"', steps)


def test_options_in_the_text_exist():
    section = README.split("## Score your own bag")[1].split("\n## ")[0]
    pages = [section, PAGES["docs/evaluate.md"], PAGES["docs/checkpoints.md"]]
    named = [set(re.findall(r"--[a-z][a-z-]+", prose(page))) - {"--help"} for page in pages]
    assert all(named)
    modules = (command, inspect_command, pack_command)
    assert set().union(*named) <= set().union(*map(options, modules))


def test_exit_codes_are_those_of_the_command():
    stated = dict(re.findall(r"^  (\d)  (.+)$", command._EPILOG, re.MULTILINE))
    assert dict(table(PAGES["docs/evaluate.md"], "Exit code of `evaluate`")) == stated


def test_every_reason_is_explained():
    rows = table(PAGES["docs/troubleshooting.md"], "Reason")
    assert [row[0] for row in rows] == [f"`{reason.value}`" for reason in Reason]
    assert all(len(row) == 3 and all(row) for row in rows)


def test_topics_and_services_are_those_of_the_nodes():
    nodes = "".join(path.read_text() for path in (ROOT / "deeplab_miou" / "nodes").rglob("*.py"))
    rows = table(PAGES["docs/topics.md"], "Node")
    named = {re.sub("`", "", row[1]).split(",")[0] for row in rows}
    assert {name for name in named if name.startswith("~")} == set(re.findall(r'"(~/\w+)"', nodes))


@pytest.mark.parametrize("node", ["deeplab_evaluator", "miou_publisher"])
def test_every_parameter_that_names_a_topic_is_in_the_table_of_topics(node):
    parameters = {each.name for each in options_of(NODES[node])}
    rows = table(PAGES["docs/topics.md"], "Node")
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert {each for each in parameters if re.search("_topics?$", each)} <= named


def test_the_table_of_permissions_is_that_of_the_policy():
    policy = ET.fromstring(source("security/policy.xml"))  # noqa: S314  (our own file)
    rows = table(PAGES["docs/security.md"], "Enclave")
    assert [row[0] for row in rows] == [f"`{each.get('path')}`" for each in policy.iter("enclave")]
    common = r"parameter|rosout|transition|_state|type_description"
    for row, enclave in zip(rows, policy.iter("enclave"), strict=True):
        entries = [*enclave.iter("topic"), *enclave.iter("service")]
        names = {entry.text.rpartition("/")[2] for entry in entries}
        names = {name for name in names if not re.search(common, name)}
        in_words = {"image": "images"}
        assert all(re.search(rf"\b{in_words.get(name, name)}\b", " ".join(row)) for name in names)


def test_every_key_of_a_report_is_explained():
    report = report_of(("a", "b"), Counts(np.eye(2, 3, dtype=np.int64), 1)).to_dict()
    rows = table(PAGES["docs/report.md"], "Key of `report.json`")
    named = [key for row in rows for key in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(report)
    (classes,) = (row[1] for row in rows if row[0] == "`classes`")
    assert set(re.findall(r"`(\w+)`", classes)) == set(report["classes"][0])


def test_label_maps_are_those_that_ship():
    rows = table(PAGES["docs/labels.md"], "Name")
    assert {row[0] for row in rows} == {f"`{name}`" for name in available_label_maps()}


def test_examples_of_label_maps_load(tmp_path):
    maps = [text for page in PAGES.values() for text in blocks(page, "yaml")]
    maps = [text for text in maps if re.search(r"^classes:", text, re.MULTILINE)]
    assert len(maps) > 2
    for text in maps:
        path = tmp_path / "example.yaml"
        path.write_text(text, encoding="utf-8")
        assert load_label_map(path).num_classes


def test_tests_that_a_page_names_exist():
    named = re.findall(r"`(test_\w+)` in[^|]*\((\S+\.py)\)", PAGES["docs/counting.md"])
    assert len(named) > 2
    for name, path in named:
        assert f"def {name}(" in source(Path("docs", path))


def test_examples_in_python_run():
    (example,) = blocks(PAGES["docs/counting.md"], "python")
    names = {}
    exec(compile(example, "counting.md", "exec"), names)  # noqa: S102  (our own text)
    assert names["scores"].miou == pytest.approx(4 / 9)
