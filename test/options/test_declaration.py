from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from typing import Literal

import pytest
import yaml

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.options.command_line import add_arguments, from_arguments
from deeplab_miou.options.declaration import changed, make, option, options_of
from deeplab_miou.options.nodes import NODES
from deeplab_miou.resources import share_directory


@dataclass(frozen=True)
class Sample:
    """One of each kind.

    More about them.
    """

    rate: float = option(1.0, "how often", minimum=0.1, maximum=10.0)
    count: int = option(3, "how many", minimum=1)
    mode: Literal["a", "b"] = option("a", "which way")
    stride: Literal[0, 8, 16] = option(0, "which step", unset="what the file says")
    flag: bool = option(default=False, text="whether")
    names: tuple[str, ...] = option(("x",), "who")
    weights: tuple[float, ...] = option((), "how much", minimum=0.0, form="W,W,...")
    size: tuple[int, int] | None = option(None, "how large", minimum=1, unset="any", form="HxW")
    other: int = 0


OPTIONS = {each.name: each for each in options_of(Sample)}
RATE, COUNT, MODE, STRIDE, FLAG, NAMES, WEIGHTS, SIZE = OPTIONS.values()


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
        (SIZE, [2, 3], [2, 3]),
        (STRIDE, 8, 8),
    ],
)
def test_good_values_come_as_the_options_type(parameter, value, expected):
    checked = parameter.check(value)
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        (RATE, 0.09, "parameter rate is 0.09, expected at least 0.1 and at most 10"),
        (RATE, math.nan, "parameter rate is nan, expected at least"),
        (SIZE, [1], "parameter size is [1], expected 2 numbers or none"),
        (STRIDE, 4, "parameter stride is 4, expected one of 0, 8, 16"),
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


def test_a_dataclass_of_options_has_typed_values():
    assert make(Sample, {}, other=2) == Sample(other=2)
    made = make(Sample, {"rate": 2, "names": ["a", "b"], "weights": [1], "size": [2, 3]})
    assert made == Sample(rate=2.0, names=("a", "b"), weights=(1.0,), size=(2, 3))
    assert make(Sample, {"names": [], "size": []}) == Sample(names=(), size=None)
    assert changed(made, {"size": [], "mode": "b"}) == Sample(
        rate=2.0, mode="b", names=("a", "b"), weights=(1.0,)
    )


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigurationError, match=r"parameter rate is .*; parameter mode is 'c'"):
        make(Sample, {"rate": 0.0, "mode": "c", "count": 1})


def sample_parser():
    parser = argparse.ArgumentParser()
    add_arguments(parser, Sample)
    return parser


def test_the_command_line_has_every_option():
    line = "--rate 2 --count 5 --mode b --stride 16 --flag --names a,b --weights 1,0.5 --size 2x3"
    parsed = sample_parser().parse_args(line.split())
    assert from_arguments(Sample, parsed, other=7) == Sample(
        2.0, 5, "b", 16, other=7, flag=True, names=("a", "b"), weights=(1.0, 0.5), size=(2, 3)
    )
    assert from_arguments(Sample, sample_parser().parse_args([])) == Sample()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--rate 11", "argument --rate: expected a number, at least 0.1 and at most 10, got 11"),
        ("--rate inf", "expected a number, at least 0.1 and at most 10, got inf"),
        ("--count 2.5", "argument --count: expected a whole number, at least 1, got 2.5"),
        ("--mode c", "argument --mode: expected one of a, b, got c"),
        ("--stride four", "expected one of 0, 8, 16, got four"),
        ("--weights 1,-1", "expected W,W,..., each a number, at least 0, got 1,-1"),
        ("--size 64", "expected HxW, each a whole number, at least 1, got 64"),
        ("--size 64x", "expected HxW, each a whole number, at least 1, got 64x"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_wrong_usage(line, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        sample_parser().parse_args(line.split())
    assert message in capsys.readouterr().err


def test_help_says_what_an_empty_default_stands_for():
    text = " ".join(sample_parser().format_help().split())
    assert "one of each kind: --rate X how often (default: 1)" in text
    assert "--stride {8,16} which step (default: what the file says)" in text
    assert "--size HxW how large (default: any)" in text
    assert "--other" not in text


@pytest.mark.parametrize("node", NODES)
def test_every_option_is_described_and_its_default_is_allowed(node):
    for each in options_of(NODES[node]):
        assert each.check(each.default) == each.default
        assert each.text
        assert "\n" not in each.text
        assert each.default != [] or each.example


@pytest.mark.parametrize("node", NODES)
def test_the_file_to_start_from_is_accepted_and_has_every_option(node):
    text = (share_directory() / "config" / f"{node.partition('_')[2]}.yaml").read_text()
    given = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert make(NODES[node], given)
    examples = dict(re.findall(r"^    # (\w+): (\[.*)$", text, re.MULTILINE))
    assert make(NODES[node], {name: yaml.safe_load(each) for name, each in examples.items()})
    assert [*given, *examples] == sorted(
        (each.name for each in options_of(NODES[node])), key=[*given, *examples].index
    )
    changed_values = {
        each.name
        for each in options_of(NODES[node])
        if given.get(each.name, each.default) != each.default
    }
    assert changed_values == ({"paced", "startup_timeout"} if node == "bag_replayer" else set())
