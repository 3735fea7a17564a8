"""Runs ``deeplab-miou evaluate`` with parsed options: progress, table, files, exit code."""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

from deeplab_miou import exit_codes
from deeplab_miou.memory import keep_freed_memory
from deeplab_miou.offline.bag_list import find_bags, is_single
from deeplab_miou.offline.bags_progress import showing_bags
from deeplab_miou.offline.cluster.evaluation import evaluate_many_on, evaluate_on
from deeplab_miou.offline.cluster.pool import Pool
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.offline.many_bags import evaluate_many
from deeplab_miou.offline.progress import showing
from deeplab_miou.options.command_line import from_arguments
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions
from deeplab_miou.paths import user_path
from deeplab_miou.recording.recording import Recording
from deeplab_miou.report.criteria import read_criteria
from deeplab_miou.report.files import REPORT_NAMES, held_directory, to_json, write_report
from deeplab_miou.report.frame_table import FRAMES_NAME
from deeplab_miou.report.judging import are_met
from deeplab_miou.report.junit import check_junit, write_junit
from deeplab_miou.report.report import BagResult
from deeplab_miou.report.terminal import complain, print_report
from deeplab_miou.text import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deeplab_miou.offline.bag_list import NamedBag
    from deeplab_miou.offline.evaluation import Evaluation
    from deeplab_miou.report.criteria import Criterion
    from deeplab_miou.report.report import Report

# Piped into a file or a pager, a table of 80 columns would lose its numbers.
_PIPED_WIDTH = 120


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and report.

    Args:
        arguments: the parsed command line.

    Returns:
        The exit code.

    Raises:
        DeeplabMiouError: nothing could be evaluated or written.
    """
    # New pages for each message can cost as much as all else: 144 labelled frames of 640x480 in
    # Zstandard chunks took 0.66 s, and 0.34 s so.
    keep_freed_memory()
    errors = _errors()
    check_junit(arguments.junit)
    if problem := _misused_ray(arguments):
        errors.print(f"deeplab-miou: {problem}", markup=False)
        return exit_codes.USAGE
    # Before the work, not after an hour of it.
    with held_directory(arguments.output):
        return _run(arguments, errors)


def _run(arguments: argparse.Namespace, errors: Console) -> int:
    options = _options(arguments)
    criteria = read_criteria(arguments.criteria, differences=False)
    if not is_single(arguments.bags):
        return _run_many(arguments, options, criteria, errors)
    (bag,) = find_bags(arguments.bags)
    frames = user_path(arguments.output) / FRAMES_NAME if arguments.output else None
    recording = Recording(arguments.record) if arguments.record else None
    with closing(recording) if recording else nullcontext():
        evaluation = _evaluate(arguments, options, criteria, frames, recording)
    if arguments.output:
        written = write_report(evaluation.report, arguments.output)
        if not arguments.quiet:
            _tell_files(written, errors)
    if not arguments.quiet:
        _print_report(evaluation.report, arguments.format)
        if arguments.format == "table":
            _print_firsts(evaluation)
    status = _conclude(evaluation.report, [_outcome(bag, evaluation.report)], arguments, errors)
    return status if recording is None else _conclude_recording(recording, status, arguments)


def _conclude_recording(recording: Recording, status: int, arguments: argparse.Namespace) -> int:
    """Say where the recording is or what is wrong with it; return the exit code."""
    if recording.problem:
        _errors().print(f"deeplab-miou: {recording.problem}", markup=False)
        return exit_codes.WRONG
    if not arguments.quiet:
        _errors().print(f"recorded {recording.folder}", markup=False)
    return status


def _misused_ray(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the use of --ray, empty if nothing."""
    if arguments.ray and user_path(arguments.ray).exists():
        return (
            f"--ray takes an address, got the file or folder {arguments.ray!r}: put --ray after "
            "the bags and before another option"
        )
    if arguments.ray is not None and arguments.record:
        return "--record works in a single process only: omit --ray"
    return ""


def _evaluate(
    arguments: argparse.Namespace,
    options: OfflineOptions,
    criteria: Sequence[Criterion],
    frames: Path | None,
    recording: Recording | None,
) -> Evaluation:
    if arguments.ray is not None:
        with Pool(arguments.ray, options, _sayer(arguments)) as pool:
            return evaluate_on(pool, options, frames, criteria)
    with showing(_errors(), quiet=_is_silent(arguments)) as on_progress:
        return evaluate(options, on_progress, frames, criteria=criteria, recording=recording)


def _run_many(
    arguments: argparse.Namespace,
    options: OfflineOptions,
    criteria: Sequence[Criterion],
    errors: Console,
) -> int:
    if not arguments.output:
        errors.print("deeplab-miou: several bags need --output DIR: each gets its own report")
        return exit_codes.USAGE
    if arguments.record:
        errors.print("deeplab-miou: --record takes one bag: run the command for each")
        return exit_codes.USAGE
    output = user_path(arguments.output)
    bags = find_bags(arguments.bags)
    with showing_bags(len(bags), errors, quiet=_is_silent(arguments)) as listener:
        if arguments.ray is None:
            report = evaluate_many(bags, options, output, listener, criteria)
        else:
            with Pool(arguments.ray, options, _sayer(arguments)) as pool:
                report = evaluate_many_on(pool, bags, options, output, listener, criteria=criteria)
    if not arguments.quiet:
        _tell_files([output / name for name in REPORT_NAMES], errors)
        _print_report(report, arguments.format)
    return _conclude(report, report.bags, arguments, errors)


def _options(arguments: argparse.Namespace) -> OfflineOptions:
    engine = from_arguments(
        EngineOptions, arguments, source="topic" if arguments.prediction_topic else "network"
    )
    return from_arguments(
        OfflineOptions,
        arguments,
        bag=arguments.bags[0],
        engine=engine,
        prediction_topic=arguments.prediction_topic,
    )


def _errors() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _sayer(arguments: argparse.Namespace) -> Callable[[str], None]:
    """Return what describes the cluster: on stderr, where it disturbs no output."""
    if arguments.quiet:
        return lambda _text: None
    errors = _errors()
    return lambda text: errors.print(printable(text), markup=False)


def _is_silent(arguments: argparse.Namespace) -> bool:
    """Return whether to say nothing while it runs: JSON is for programs."""
    return bool(arguments.quiet) or arguments.format == "json"


def _tell_files(paths: Sequence[Path], errors: Console) -> None:
    errors.print(f"wrote {', '.join(map(str, paths))}", markup=False)


def _print_report(report: Report, form: str) -> None:
    if form == "json":
        sys.stdout.write(to_json(report))
    else:
        print_report(report, _output())


def _print_firsts(evaluation: Evaluation) -> None:
    console = _output()
    for reason, message in evaluation.first_drops.items():
        console.print(f"first {reason}: {printable(message)}", markup=False, soft_wrap=True)
    if evaluation.unknown_labels:
        text = f"first unknown labels: {evaluation.unknown_labels}"
        console.print(text, markup=False, soft_wrap=True)


def _output() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def _conclude(
    report: Report, bags: Sequence[BagResult], arguments: argparse.Namespace, errors: Console
) -> int:
    write_junit(arguments.junit, "evaluate", report.criteria, bags)
    complain(report.criteria, errors)
    return _exit_code(report, errors)


def _outcome(bag: NamedBag, report: Report) -> BagResult:
    return BagResult.of_only(
        *bag,
        pixels=report.result.totals.counts.pixels,
        damaged=report.damaged,
        problems=report.problems,
    )


def _exit_code(report: Report, errors: Console) -> int:
    if report.damaged:
        for problem in report.problems:
            errors.print(f"deeplab-miou: {printable(problem)}", markup=False)
        return exit_codes.DAMAGED_BAG
    if not report.result.totals.counts.matrix.any():
        found = (
            "a labelled pixel" if report.result.totals.counts.frames else "an image with a label"
        )
        errors.print(
            f"deeplab-miou: nothing was evaluated, as there was not {found}: see above what "
            "happened to each message"
        )
        return exit_codes.NOTHING_EVALUATED
    return exit_codes.OK if are_met(report.criteria) else exit_codes.NOT_GOOD_ENOUGH
