from __future__ import annotations

import math
import re

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.nodes.parameters.all import TABLES
from deeplab_miou.nodes.parameters.table import Parameter
from deeplab_miou.resources import share_directory

RATE = Parameter("rate", default=1.0, description="", minimum=0.1, maximum=10.0)
COUNT = Parameter("count", default=3, description="", minimum=1)
MODE = Parameter("mode", default="a", description="", choices=("a", "b"))
FLAG = Parameter("flag", default=False, description="")
NAMES = Parameter("names", default=["x"], description="")
WEIGHTS = Parameter("weights", default=[], description="", element=float, minimum=0.0)


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (RATE, 2, 2.0),
        (RATE, 0.1, 0.1),
        (RATE, 10.0, 10.0),
        (COUNT, 2**40, 2**40),
        (MODE, "b", "b"),
        (FLAG, True, True),
        (NAMES, ("a", "b"), ["a", "b"]),
        (NAMES, [], []),
        (WEIGHTS, [1, 2.5], [1.0, 2.5]),
        (WEIGHTS, [], []),
    ],
)
def test_good_values_come_as_the_type_of_the_default(parameter, value, expected):
    checked = parameter.check(value)
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        (RATE, 0.09, "parameter rate is 0.09, expected at least 0.1 and at most 10"),
        (RATE, math.nan, "parameter rate is nan, expected at least"),
        (RATE, math.inf, "expected at least 0.1 and at most 10"),
        (RATE, "2", "parameter rate is '2', expected a number"),
        (RATE, True, "parameter rate is True, expected a number"),
        (COUNT, 0, "parameter count is 0, expected at least 1"),
        (COUNT, 1.0, "parameter count is 1.0, expected a whole number"),
        (MODE, "c", "parameter mode is 'c', expected one of 'a', 'b'"),
        (FLAG, 1, "parameter flag is 1, expected true or false"),
        (NAMES, "x", "parameter names is 'x', expected a list, each a string"),
        (NAMES, [1], "parameter names is 1, expected a string"),
        (NAMES, None, "parameter names is None, expected a list"),
        (WEIGHTS, [1.0, -1.0], "parameter weights is -1.0, expected at least 0"),
    ],
)
def test_bad_values_are_named_with_what_was_expected(parameter, value, message):
    with pytest.raises(
        ConfigurationError,
        match="^" + re.escape(message) if message[0] == "p" else re.escape(message),
    ):
        parameter.check(value)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_parameter_is_described_and_its_default_is_allowed(table):
    names = [parameter.name for parameter in table]
    assert len(names) == len(set(names))
    for parameter in table:
        assert parameter.check(parameter.default) == parameter.default
        assert parameter.description
        assert "\n" not in parameter.description


def start_file(node):
    return (share_directory() / "config" / f"{node.partition('_')[2]}.yaml").read_text()


@pytest.mark.parametrize("node", TABLES)
def test_the_file_to_start_from_is_accepted(node):
    given = yaml.safe_load(start_file(node))["/**"]["ros__parameters"]
    table = {parameter.name: parameter for parameter in TABLES[node]}
    assert given == {name: table[name].check(value) for name, value in given.items()}


@pytest.mark.parametrize("node", ["deeplab_evaluator", "miou_publisher"])
def test_the_file_to_start_from_holds_the_defaults(node):
    given = yaml.safe_load(start_file(node))["/**"]["ros__parameters"]
    defaults = {p.name: p.default for p in TABLES[node]}
    assert given == {name: defaults[name] for name in given}
    unset = set(re.findall(r"^    # (\w+): \[", start_file(node), re.MULTILINE))
    assert set(given) | unset == set(defaults)
