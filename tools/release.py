"""Prepare a release: one version everywhere, and the changelogs that bloom reads.

    python3 tools/release.py 0.2.0 [--date 2027-01-31]

Writes the version into ``deeplab_miou/__init__.py``, both ``package.xml`` and ``CITATION.cff``,
gives the unreleased section of CHANGELOG.md its version and date, and writes CHANGELOG.rst of both
packages from it. CONTRIBUTING.md says what to do then.
"""

# ruff: noqa: INP001, T201  (a script: it prints)
from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"deeplab_miou": "", "deeplab_miou_msgs": "deeplab_miou_msgs"}
# Where the version stands, and what stands around it.
PLACES = {
    "deeplab_miou/__init__.py": (r'(__version__ = ")[^"]+(")', r"\g<1>{}\g<2>"),
    "package.xml": (r"(<version>)[^<]+(</version>)", r"\g<1>{}\g<2>"),
    "deeplab_miou_msgs/package.xml": (r"(<version>)[^<]+(</version>)", r"\g<1>{}\g<2>"),
    "CITATION.cff": (r"(?m)^(version: ).+()$", r"\g<1>{}\g<2>"),
}
HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", re.MULTILINE)
_OF_MESSAGES = "* Released together with deeplab_miou, whose changelog names what is new."


def set_version(root: Path, version: str) -> None:
    """Write a version to every place that states it."""
    for name, (pattern, replacement) in PLACES.items():
        text = (root / name).read_text(encoding="utf-8")
        changed, count = re.subn(pattern, replacement.format(version), text)
        if count != 1:
            sys.exit(f"{name} states a version {count} times, expected once")
        (root / name).write_text(changed, encoding="utf-8")


def date_changelog(root: Path, version: str, date: str) -> str:
    """Give the unreleased section of CHANGELOG.md its version and date; return the text."""
    path = root / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    first = HEADING.search(text)
    if first is None or first[2] != "unreleased":
        sys.exit("CHANGELOG.md does not begin with a section that is unreleased: what is new?")
    text = text[: first.start()] + f"## [{version}] - {date}" + text[first.end() :]
    path.write_text(text, encoding="utf-8")
    return text


def changelog(markdown: str, package: str) -> str:
    """Return CHANGELOG.rst of a package as REP-132 wants it.

    Below a version there are lists and paragraphs only: catkin_pkg drops subsections silently.
    """
    title = f"Changelog for package {package}"
    lines = ["^" * len(title), title, "^" * len(title), ""]
    parts = HEADING.split(markdown)[1:]
    for version, date, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        heading = f"{version} ({date})"
        entries = _restructured(body) if package == "deeplab_miou" else [_OF_MESSAGES]
        lines += [heading, "-" * len(heading), "", *entries, ""]
    return "\n".join(lines).rstrip() + "\n"


def _restructured(markdown: str) -> list[str]:
    """Return the entries of a section of CHANGELOG.md in reStructuredText."""
    lines = []
    for line in markdown.strip().splitlines():
        if line.startswith("### "):
            lines += ["", f"**{line[4:]}**", ""]
            continue
        # Links lead to files of the repository, which the changelog is read without.
        plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", line)
        plain = re.sub(r"`([^`]+)`", r"``\1``", plain)
        lines.append(re.sub(r"^- ", "* ", plain))
    return lines


def prepare(root: Path, version: str, date: str) -> None:
    """Prepare a release in a clone."""
    text = date_changelog(root, version, date)
    set_version(root, version)
    for package, folder in PACKAGES.items():
        path = root / folder / "CHANGELOG.rst"
        path.write_text(changelog(text, package), encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Prepare a release.")
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument(
        "--date",
        default=dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        help="of the release (default: today)",
    )
    options = parser.parse_args()
    if not re.fullmatch(r"\d+\.\d+\.\d+", options.version):
        sys.exit(f"the version is {options.version!r}, expected three numbers such as 0.2.0")
    prepare(ROOT, options.version, options.date)
    print(f"{options.version} is prepared: look through `git diff`, go on as in CONTRIBUTING.md")


if __name__ == "__main__":
    main()
