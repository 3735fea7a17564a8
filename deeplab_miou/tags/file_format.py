"""The file that says when which tag is in force, as CSV or YAML.

start,end,tag
1777636800.5,1777636860,tunnel
2026-05-01T12:10:00Z,2026-05-01T12:12:30Z,rain

tags:
  - {start: "+12.5", end: "+60", key: weather, tag: rain, bag: drive_07}

CSV comes from spreadsheets, with whatever they make of it, and from `foxglove events list --format
csv`, whose columns Metadata and Properties hold JSON objects.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from deeplab_miou import strict_yaml
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.paths import user_path
from deeplab_miou.strict_yaml import Checker, show
from deeplab_miou.tags.timeline import Span, Tag, TagTimeline
from deeplab_miou.tags.times import Moment, read_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from deeplab_miou.strict_yaml import KeyPath

_WHAT = "tags file"
_MOST_BYTES = 1 << 24
_MOST_ROWS = 50_000
_KEYS = ("start", "end", "tag", "key", "bag")
# Foxglove's: what anyone wrote about an event, and what its type asks for.
_OBJECTS = ("metadata", "properties")
_DELIMITERS = ",;\t"
_NO_END = Moment(2**63 - 1)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """A tag that is in force for a while.

    Attributes:
        tag: which.
        start: since when.
        end: until when; None until the next row of its key.
        bag: in which bag; empty for each.
    """

    tag: Tag
    start: Moment
    end: Moment | None
    bag: str


@dataclass(frozen=True)
class TagFile:
    """What a tags file says.

    Attributes:
        name: the file.
        rows: what it holds, in its order.
    """

    name: str
    rows: Sequence[Row]

    @property
    def needs_bag(self) -> bool:
        """Whether it refers to bags."""
        return any(
            row.bag or row.start.is_relative or (row.end is not None and row.end.is_relative)
            for row in self.rows
        )

    def timeline(self, bag_names: Collection[str] = (), first_ns: int = 0) -> TagTimeline:
        """Return the tags of a bag, or of what is received.

        Args:
            bag_names: what the bag may be called.
            first_ns: stamp of its first image, nanoseconds.
        """
        timeline = TagTimeline()
        rows = [row for row in self.rows if not row.bag or row.bag in bag_names]
        if self.rows and not rows:
            named = ", ".join(dict.fromkeys(repr(row.bag) for row in self.rows[:20]))
            timeline.doubt(f"no row of {_WHAT} {self.name} is for this bag; they are for {named}")
        spans, instants = [], 0
        for row in rows:
            start_ns = row.start.since(first_ns)
            if row.end is None:
                timeline.add(*row.tag, start_ns)
                continue
            spans.append(Span(row.tag, start_ns, row.end.since(first_ns)))
            instants += spans[-1].start_ns == spans[-1].stop_ns
        timeline.add_spans(spans)
        if instants:
            timeline.doubt(
                f"{instants} rows of {_WHAT} {self.name} end when they begin: "
                "no frame has their tag"
            )
        return timeline


def read_tag_file(file: str) -> TagFile:
    """Read a tags file, YAML if its name ends so, otherwise CSV.

    Args:
        file: its path.

    Raises:
        ConfigurationError: it is unreadable or malformed; the message names file, line and value.
    """
    path = user_path(file)
    if path.suffix.lower() in {".yaml", ".yml"}:
        data, lines = strict_yaml.read(path, _WHAT)
        rows = _YamlChecker(_WHAT, str(path), lines).rows(data)
    else:
        rows = _Table(path).rows()
    # Without ends, one row's end is the next one's beginning.
    ordered = sorted(rows, key=lambda row: row.start) if _lacks_ends(rows) else rows
    return TagFile(str(path), ordered)


def _lacks_ends(rows: Sequence[Row]) -> bool:
    return any(row.end is None for row in rows)


class _YamlChecker(Checker):
    """Checks a YAML file."""

    def rows(self, data: object) -> list[Row]:
        top = self.mapping(data, (), ("tags",))
        items = self.items(top["tags"], ("tags",))
        if not 1 <= len(items) <= _MOST_ROWS:
            self.fail(("tags",), f"has {len(items)} entries, expected 1 to {_MOST_ROWS}")
        rows = [self._row(item, ("tags", i)) for i, item in enumerate(items)]
        ends = ["end" in item for item in items]
        if any(ends) and not all(ends):
            self.fail(("tags", ends.index(False)), "has no end, while others have")
        return rows

    def _row(self, data: object, path: KeyPath) -> Row:
        item = self.mapping(data, path, _KEYS)
        for key in ("start", "tag"):
            if key not in item:
                self.fail(path, f"has no {key}")
        name, key, bag = (
            self.text(item.get(each, ""), (*path, each)) for each in ("tag", "key", "bag")
        )
        start = self._time(item["start"], (*path, "start"))
        end = self._time(item["end"], (*path, "end")) if "end" in item else None
        if problem := _order(start, end):
            self.fail((*path, "end"), problem)
        return Row(Tag(key, name), start, end, bag)

    def _time(self, value: object, path: KeyPath) -> Moment:
        try:
            return read_time(value if isinstance(value, str) else show(value))
        except ValueError as error:
            self.fail(path, f"is {show(value)}, which {error}")


def _order(start: Moment, end: Moment | None) -> str:
    """Return what is wrong with when a row begins and ends, empty if nothing."""
    if end is None or end is _NO_END:
        return ""
    if start.is_relative != end.is_relative:
        return "has another origin than its start: use + with both or with neither"
    return "is before its start" if end.ns < start.ns else ""


class _Table:
    """A CSV file.

    Args:
        path: the file.

    Raises:
        ConfigurationError: it is not a table of tags.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = self._text().splitlines(keepends=True)
        delimiter, first = "", 0
        if lines and lines[0].strip().lower().startswith("sep=") and len(lines[0].strip()) == 5:  # noqa: PLR2004
            delimiter, first = lines[0].strip()[4], 1
        header = next((line for line in lines[first:] if line.strip()), "")
        delimiter = delimiter or max(_DELIMITERS, key=header.count)
        self._decimal_comma = delimiter != ","
        self._first = first
        # Excel on a Mac may end lines with a carriage return, which the reader knows only with \n.
        text = io.StringIO("".join(lines[first:]), newline=None)
        self._reader = csv.reader(text, delimiter=delimiter)

    def rows(self) -> list[Row]:
        """Return what it holds."""
        try:
            cells = [(self._reader.line_num, each) for each in self._reader if any(each)]
        except csv.Error as error:
            self._fail(self._reader.line_num, f"is no row of a CSV file: {error}")
        if not cells:
            raise ConfigurationError(f"{_WHAT} {self._path} is empty")
        columns = self._columns(*cells[0])
        if not 1 < len(cells) <= _MOST_ROWS + 1:
            raise ConfigurationError(
                f"{_WHAT} {self._path} has {len(cells) - 1} rows, expected 1 to {_MOST_ROWS}"
            )
        rows = [row for line, each in cells[1:] for row in self._row(line, each, columns)]
        if not rows:
            raise ConfigurationError(
                f"{_WHAT} {self._path} has {len(cells) - 1} events, none of which has metadata or "
                "properties, expected a key and a tag there"
            )
        return rows

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(f"{_WHAT} {self._path} cannot be read: {reason}") from None
        if len(raw) > _MOST_BYTES:
            raise ConfigurationError(f"{_WHAT} {self._path} is larger than {_MOST_BYTES} bytes")
        if raw[:2] == b"PK":
            raise ConfigurationError(
                f"{_WHAT} {self._path} is a workbook or an archive: save the sheet as CSV (UTF-8)"
            )
        try:
            text = raw.decode("utf-16" if raw[:2] in _UTF16 else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"{_WHAT} {self._path}, byte {error.start}: not UTF-8: save the sheet as CSV UTF-8"
            ) from None
        if "\0" in text:
            raise ConfigurationError(f"{_WHAT} {self._path} is not text")
        return text

    def _columns(self, line: int, header: Sequence[str]) -> dict[str, int]:
        """Return where the columns are that mean something here."""
        named = [cell.strip().lower() for cell in header]
        columns = {name: named.index(name) for name in (*_KEYS, *_OBJECTS) if name in named}
        twice = [name for name in columns if named.count(name) > 1]
        if twice:
            self._fail(line, f"names the column {twice[0]!r} twice")
        if "start" not in columns or not {"tag", *_OBJECTS} & columns.keys():
            found = ", ".join(show(cell) for cell in header[:12])
            self._fail(
                line,
                f"has the columns {found}; expected start, end and tag, or start, end and metadata "
                "as Foxglove exports events",
            )
        return columns

    def _row(self, line: int, cells: Sequence[str], columns: Mapping[str, int]) -> Iterator[Row]:
        found = {
            name: cells[place].strip() if place < len(cells) else ""
            for name, place in columns.items()
        }
        start = self._time(line, "start", found["start"])
        end = None
        if "end" in found:
            end = self._time(line, "end", found["end"]) if found["end"] else _NO_END
        if problem := _order(start, end):
            self._fail(line, f"has an end, {show(found['end'])}, that {problem}")
        bag = found.get("bag", "")
        if "tag" in found:
            yield Row(Tag(found.get("key", ""), found["tag"]), start, end, bag)
            return
        for column in _OBJECTS:
            for key, value in self._object(line, column, found.get(column, "")).items():
                if value is not None:
                    name = value if isinstance(value, str) else json.dumps(value)
                    yield Row(Tag(key, name), start, end, bag)

    def _object(self, line: int, column: str, text: str) -> Mapping[str, object]:
        try:
            value = json.loads(text or "null")
        except (ValueError, RecursionError):
            value = text
        if not isinstance(value, dict | None):
            self._fail(line, f"has the {column} {show(text)}, expected a JSON object")
        return value or {}

    def _time(self, line: int, column: str, text: str) -> Moment:
        try:
            return read_time(text, decimal_comma=self._decimal_comma)
        except ValueError as error:
            self._fail(line, f"has the {column} {show(text)}, which {error}")

    def _fail(self, line: int, problem: str) -> NoReturn:
        raise ConfigurationError(f"{_WHAT} {self._path}, line {line + self._first}: {problem}")
