"""Runs ``deeplab-miou compare`` with parsed options: table, files, exit code."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from deeplab_miou import exit_codes
from deeplab_miou.comparison.common import find_common
from deeplab_miou.comparison.difference import compare_blocks
from deeplab_miou.comparison.evaluated_run import read_run
from deeplab_miou.comparison.files import (
    class_rows,
    format_bounds,
    format_signed,
    slice_rows,
    write_comparison,
)
from deeplab_miou.comparison.report import Comparison, to_json
from deeplab_miou.memory import keep_freed_memory
from deeplab_miou.offline.bag_list import find_bags, is_single
from deeplab_miou.offline.bags_progress import showing_bags
from deeplab_miou.options.command_line import from_arguments
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions
from deeplab_miou.paths import user_path
from deeplab_miou.report.columns import Column, table_of
from deeplab_miou.report.criteria import check_names, read_criteria
from deeplab_miou.report.files import check_directory, held_directory
from deeplab_miou.report.judging import are_met, judge
from deeplab_miou.report.junit import check_junit, write_junit
from deeplab_miou.report.report import BagResult
from deeplab_miou.report.terminal import complain, print_criteria
from deeplab_miou.report.wording import format_score
from deeplab_miou.text import plural, printable

if TYPE_CHECKING:
    import argparse

    from deeplab_miou.comparison.evaluation import Changes
    from deeplab_miou.offline.bag_list import NamedBag
    from deeplab_miou.report.stored import StoredReport

# Before the name of a topic, in place of a checkpoint.
_TOPIC = "topic:"


def run(arguments: argparse.Namespace) -> int:
    """Compare two runs.

    Args:
        arguments: the parsed command line.

    Returns:
        The exit code.

    Raises:
        DeeplabMiouError: they cannot be compared, or nothing can be written.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    check_junit(arguments.junit)
    problem = _usage(arguments)
    if problem:
        errors.print(f"deeplab-miou: {problem}", markup=False)
        return exit_codes.USAGE
    with held_directory(arguments.output if arguments.bags else ""):
        return _run(arguments, errors)


def _run(arguments: argparse.Namespace, errors: Console) -> int:
    criteria = read_criteria(arguments.criteria, differences=True)
    changes = None
    bags: list[NamedBag] = []
    if arguments.bags:
        bags = find_bags(arguments.bags)
        changes = _evaluate(bags, arguments, errors)
    a, b = read_run(arguments.a), read_run(arguments.b)
    check_names(criteria, b.report.axes)
    common = find_common(a, b)
    if arguments.output and not arguments.bags:
        # Not before: what cannot be compared leaves no empty folder.
        check_directory(arguments.output)
    if changes is not None:
        common.changed, common.pixels = changes.most, changes.pixels
        common.disagreement = changes.pixels.disagreement
    difference = compare_blocks(
        common.sums.read(), margin=arguments.margin, absent_classes=arguments.absent_classes
    )
    slices = (
        []
        if common.slices is None
        else common.slices.differences(
            margin=arguments.margin, absent_classes=arguments.absent_classes
        )
    )
    comparison = Comparison(
        a.side_info,
        b.side_info,
        b.report.class_names,
        common,
        difference,
        absent_classes=arguments.absent_classes,
        slices=slices,
    )
    judgements = judge(criteria, b.report.content, comparison.to_dict())
    comparison = replace(comparison, criteria=judgements)
    if arguments.output:
        written = write_comparison(comparison, arguments.output)
        errors.print(f"wrote {', '.join(map(str, written))}", markup=False)
    if arguments.format == "json":
        sys.stdout.write(to_json(comparison))
    else:
        _print_table(comparison)
    missed_gate = _missed_gate(comparison, arguments)
    gates = dict.fromkeys(_gate(arguments), missed_gate)
    write_junit(arguments.junit, "compare", judgements, _read_bags(bags, b.report), gates)
    complain(judgements, errors)
    if missed_gate:
        errors.print(f"deeplab-miou: not good enough: {missed_gate}", markup=False)
    return _exit_code(comparison, arguments, missed_gate)


def _usage(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the options, in a line; empty if nothing is."""
    if arguments.bags:
        return "" if arguments.output else "comparing checkpoints on bags takes --output DIR"
    useless = [
        f"--{each.name.replace('_', '-')}"
        for declared in (EngineOptions, OfflineOptions)
        for each in options_of(declared)
        if each.name != "absent_classes"
        and getattr(arguments, each.name, each.default) != each.default
    ]
    if not useless:
        return ""
    return f"{', '.join(useless)} only matters for comparing checkpoints: give the bags too"


def _evaluate(bags: list[NamedBag], arguments: argparse.Namespace, errors: Console) -> Changes:
    """Run both networks; their reports take the place of A and B in the arguments."""
    from deeplab_miou.comparison.evaluation import SIDES, evaluate_both  # noqa: PLC0415  (heavy)

    keep_freed_memory()
    options = [_side(arguments, word) for word in (arguments.a, arguments.b)]
    output = user_path(arguments.output)
    many = not is_single(arguments.bags)
    with showing_bags(len(bags), errors, quiet=False) as listener:
        changes = evaluate_both(bags, options, output, listener, many=many)
    arguments.a, arguments.b = (str(output / side) for side in SIDES)
    return changes


def _side(arguments: argparse.Namespace, word: str) -> OfflineOptions:
    topic = word[len(_TOPIC) :] if word.startswith(_TOPIC) else ""
    engine = from_arguments(
        EngineOptions,
        arguments,
        source="topic" if topic else "network",
        checkpoint="" if topic else word,
    )
    return from_arguments(OfflineOptions, arguments, engine=engine, prediction_topic=topic)


def _print_table(comparison: Comparison) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    rows = class_rows(comparison)
    verdicts = ["" if row.verdict == "no evidence" else row.verdict for row in rows]
    columns = [
        Column("class", [Text(row.name) for row in rows], narrowest=9, justify="left"),
        Column("A", [row.a for row in rows], rank=2),
        Column("B", [row.b for row in rows], rank=1),
        Column("B - A", [row.difference for row in rows]),
        Column("95 %", [Text(row.bounds) for row in rows], narrowest=10),
        Column("verdict", [Text(each) for each in verdicts], narrowest=7, justify="left"),
    ]
    styles = ["dim" if row.place is None else "" for row in rows]
    console.print(table_of(columns, styles, console))
    difference = comparison.difference
    line = Text(f"mIoU {format_score(float(difference.a[0]))} -> ", "bold")
    line.append(format_score(float(difference.b[0])))
    line.append(f", difference {format_signed(difference.value[0])} ")
    line.append(format_bounds(difference.bounds.fixed[0]))
    console.print(line, soft_wrap=True)
    if difference.bounds.reason:
        console.print(Text(f"no interval: {difference.bounds.reason}"), soft_wrap=True)
    elif comparison.common.is_many:
        resampled = f"resampling {difference.bounds.blocks} {difference.bounds.unit}"
        console.print(Text(f"intervals by {resampled}"), soft_wrap=True)
    for each in slice_rows(comparison):
        text = f"slice {each.name}: {each.a} -> {each.b}, difference {each.difference}"
        text += f" {each.bounds}".rstrip()
        console.print(Text(f"{text}, {plural(each.frames, 'frame')}"), soft_wrap=True)
    if comparison.pixel_line:
        console.print(Text(comparison.pixel_line), soft_wrap=True)
    print_criteria(comparison.criteria, console)
    for caution in comparison.cautions:
        console.print(Text(printable(caution), "bold yellow"), soft_wrap=True)
    console.print(Text(f"{comparison.sentence}.", "bold"), soft_wrap=True)


def _read_bags(bags: list[NamedBag], report: StoredReport) -> list[BagResult]:
    """Return what became of the bags that both networks were run on; each is read once for both."""
    content = report.content
    if report.bags is None:
        return [
            BagResult.of_only(
                *bag,
                pixels=report.counts.pixels,
                damaged=content["damaged"],
                problems=content["problems"],
            )
            for bag in bags
        ]
    by_name = {each["name"]: each for each in content["bags"]}
    return [
        BagResult(*bag, by_name[bag.name]["status"], problem=by_name[bag.name]["problem"])
        for bag in bags
    ]


def _gate(arguments: argparse.Namespace) -> list[str]:
    """Return the option that sets the gate, as on the command line; nothing without a gate."""
    values = {
        "--fail-if-worse": arguments.fail_if_worse,
        "--fail-unless-not-worse": arguments.fail_unless_not_worse,
    }
    return [f"{option} {value:g}" for option, value in values.items() if value is not None]


def _missed_gate(comparison: Comparison, arguments: argparse.Namespace) -> str:
    """Return why B does not pass the gate on the command line; empty if it does."""
    difference = comparison.difference
    worse_by, not_worse_by = arguments.fail_if_worse, arguments.fail_unless_not_worse
    if worse_by is not None and difference.worse_by(worse_by):
        return f"B is shown to be worse than A by more than {worse_by:g}"
    if not_worse_by is None:
        return ""
    if comparison.common.b_lacks_some:
        return "B has no score for some frames that A scored"
    if not difference.not_worse_by(not_worse_by):
        return f"B is not shown to be within {not_worse_by:g} of A"
    return ""


def _exit_code(comparison: Comparison, arguments: argparse.Namespace, missed_gate: str) -> int:
    if missed_gate or not are_met(comparison.criteria):
        return exit_codes.NOT_GOOD_ENOUGH
    if arguments.bags and (comparison.a.problems or comparison.b.problems):
        return exit_codes.DAMAGED_BAG
    return exit_codes.OK
