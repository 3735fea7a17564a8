"""Criteria as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from deeplab_miou.paths import user_path
from deeplab_miou.report.files import check_directory, write_together
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.report.judging import Judgement
    from deeplab_miou.report.report import BagResult


def check_junit(file: str) -> None:
    """See that a file can be written, before the work and not after.

    Raises:
        ConfigurationError: its folder cannot be written to.
    """
    if file:
        check_directory(str(user_path(file).parent))


def write_junit(
    file: str, command: str, judgements: Sequence[Judgement], bags: Sequence[BagResult] = ()
) -> None:
    """Write a test case for each criterion and for each of many bags; nothing without a file.

    Args:
        file: its path, empty for none.
        command: which subcommand judged.
        judgements: what became of each criterion.
        bags: those that were to be read.

    Raises:
        DeeplabMiouError: it cannot be written.
    """
    if not file:
        return
    root = Element("testsuites", name="deeplab-miou")
    suite = SubElement(root, "testsuite", name=f"deeplab-miou {command}")
    for each in judgements:
        case = _case(suite, f"{command}.criteria", each.criterion.title)
        if each.passed is None:
            SubElement(case, "skipped", message=printable(each.reason))
        elif not each.passed:
            SubElement(case, "failure", message=printable(each.line)).text = printable(each.line)
    for bag in bags:
        case = _case(suite, f"{command}.bags", bag.name)
        if not bag.is_whole:
            message = printable(f"{bag.status}: {bag.problem}")
            SubElement(case, "error", message=message).text = message
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


def _case(suite: Element, group: str, name: str) -> Element:
    return SubElement(
        suite, "testcase", classname=f"deeplab-miou.{group}", name=printable(name), time="0"
    )
