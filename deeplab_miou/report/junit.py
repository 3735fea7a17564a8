"""Criteria as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.paths import user_path
from deeplab_miou.report.files import check_directory, write_together
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeplab_miou.report.judging import Judgement
    from deeplab_miou.report.report import BagResult

# Of bags that could be read; all else is an error.
_OUTCOMES = {"evaluated": "", "nothing evaluated": "skipped"}


def check_junit(file: str) -> None:
    """See that a file can be written, before the work and not after; remove that of an earlier run.

    A CI server would show an old file as the outcome of a run that stops early.

    Raises:
        ConfigurationError: its folder cannot be written to, or it cannot be replaced.
    """
    if not file:
        return
    path = user_path(file)
    check_directory(str(path.parent))
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"JUnit file {str(path)!r} cannot be replaced: {error.strerror or error}"
        ) from None


def write_junit(
    file: str,
    command: str,
    judgements: Sequence[Judgement],
    bags: Sequence[BagResult] = (),
    gates: Mapping[str, str] = {},
) -> None:
    """Write a test case for each criterion, bag and gate; nothing without a file.

    Args:
        file: its path, empty for none.
        command: which subcommand judged.
        judgements: what became of each criterion.
        bags: those that were to be read.
        gates: options that set a condition, as they were given, and why each is not met, empty if
            it is.

    Raises:
        DeeplabMiouError: it cannot be written.
    """
    if not file:
        return
    root = Element("testsuites", name="deeplab-miou")
    suite = SubElement(root, "testsuite", name=f"deeplab-miou {command}")
    for each in judgements:
        outcome = {True: "", False: "failure", None: "skipped"}[each.passed]
        text = each.reason if each.passed is None else each.line
        _add(suite, f"{command}.criteria", each.criterion.title, outcome, text)
    for bag in bags:
        outcome = _OUTCOMES.get(bag.status, "error")
        _add(suite, f"{command}.bags", bag.name, outcome, f"{bag.status}: {bag.problem}")
    for gate, missed in gates.items():
        _add(suite, f"{command}.gate", gate, "failure" if missed else "", missed)
    for element in (suite, root):
        element.set("tests", str(len(suite)))
        for attribute, tag in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            element.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    indent(root)
    text = tostring(root, encoding="unicode")
    write_together({user_path(file): f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'})


def _add(suite: Element, group: str, name: str, outcome: str, text: str) -> None:
    """Add a test case; it has passed where the outcome is empty."""
    case = SubElement(
        suite, "testcase", classname=f"deeplab-miou.{group}", name=printable(name), time="0"
    )
    if outcome:
        SubElement(case, outcome, message=printable(text)).text = printable(text)
