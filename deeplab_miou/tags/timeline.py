"""Which tags are in force when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

NO_TAG = "no tag"
# Where a frame's tag is one of too many.
OTHER_TAGS = "other tags"
MOST_TAGS = 64
# A recorder's clock is not farther than this from the one that stamps images, if both are one.
SAME_CLOCK_NS = 3600 * 10**9
_MOST_KEYS = 16
# A change of tag each second for a day.
_MOST_CHANGES = 100_000
_LONGEST_NAME = 200


class Tag(NamedTuple):
    """What frames can have in common.

    Attributes:
        key: what it is about, such as ``weather``; empty if not given.
        name: such as ``rain``; `NO_TAG` where none of the key is in force.
    """

    key: str
    name: str

    @property
    def label(self) -> str:
        """The tag as people write it."""
        return f"{self.key}={self.name}" if self.key else self.name


class Change(NamedTuple):
    """From a moment on, other tags of a key are in force.

    Attributes:
        key: which.
        start_ns: the moment, nanoseconds.
        names: in force from then on; nothing if none is.
    """

    key: str
    start_ns: int
    names: tuple[str, ...]


class Span(NamedTuple):
    """A tag that is in force for a while.

    Attributes:
        tag: which.
        start_ns: since when, nanoseconds.
        stop_ns: until when, itself not included.
    """

    tag: Tag
    start_ns: int
    stop_ns: int


class TagTimeline:
    """Tags over time, by their keys, in bounded memory; not thread-safe.

    There are at most 64 tags: those that are new after them are all `OTHER_TAGS`.
    """

    def __init__(self) -> None:
        self._stamps: dict[str, list[int]] = {}
        self._names: dict[str, list[tuple[str, ...]]] = {}
        self._known: set[Tag] = set()
        self._changes = 0
        self._lost = 0
        self._other: dict[Tag, None] = {}
        self._doubts: list[str] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys, in the order in which they came."""
        return tuple(self._stamps)

    @property
    def doubts(self) -> list[str]:
        """What makes it doubtful which frames have which tag, a line each."""
        doubts = list(self._doubts)
        if self._other:
            some = ", ".join(repr(tag.label[:40]) for tag in list(self._other)[:3])
            doubts.append(
                f"there are more than {MOST_TAGS} tags: frames with the others ({some} and so on) "
                f"are counted together as {OTHER_TAGS!r}"
            )
        if self._lost:
            doubts.append(
                f"{self._lost} changes of tags had no effect: at most {_MOST_CHANGES:,} changes of "
                f"{_MOST_KEYS} keys are kept"
            )
        return doubts

    def doubt(self, line: str) -> None:
        """Note what makes it doubtful which frames have which tag; once if it is repeated."""
        if line not in self._doubts:
            self._doubts.append(line)

    def add(self, key: str, name: str, stamp_ns: int) -> bool:
        """Let a tag be in force from a moment on until the next one of its key.

        Of several at one moment, the last holds. What stands here is the same whatever the order in
        which tags come, if each key's come in the order of time.

        Args:
            key: what it is about.
            name: the tag; empty for none.
            stamp_ns: the moment, nanoseconds.

        Returns:
            Whether that changes anything.
        """
        key, name = _name(key), _name(name)
        names = (name,) if name and name != NO_TAG else ()
        is_known = self._names_at(key, stamp_ns) == names
        if is_known and self._next_ns(key, stamp_ns) is None:
            return False
        return self._change(key, stamp_ns, names) and not is_known

    def add_spans(self, spans: Iterable[Span]) -> None:
        """Add tags that are in force for a while and may overlap, of keys that are new."""
        by_key: dict[str, list[Span]] = {}
        for span in spans:
            tag = Tag(_name(span.tag.key), _name(span.tag.name))
            if tag.name and tag.name != NO_TAG and span.start_ns < span.stop_ns:
                by_key.setdefault(tag.key, []).append(span._replace(tag=tag))
        changes = sorted(
            (change for key, found in by_key.items() for change in _changes(key, found)),
            key=lambda change: change.start_ns,
        )
        for key, stamp_ns, names in changes:
            self._change(key, stamp_ns, names)

    def add_changes(self, changes: Iterable[Change]) -> None:
        """Add what `changes` has returned."""
        for key, stamp_ns, names in changes:
            self._change(key, stamp_ns, names)

    def tags(self, stamp_ns: int) -> list[Tag]:
        """Return the tags of a frame: at least one of each key, which may be `NO_TAG`."""
        return [tag for key in self._stamps for tag in self.tags_of(key, stamp_ns)]

    def rows(self, stamps_ns: NDArray[np.int64]) -> dict[Tag, NDArray[np.intp]]:
        """Return the frames of each tag, as indices of their stamps, int64 ``(frames,)``."""
        rows: dict[Tag, list[int]] = {}
        for row, stamp_ns in enumerate(stamps_ns.tolist()):
            for tag in self.tags(stamp_ns):
                rows.setdefault(tag, []).append(row)
        return {tag: np.array(each, np.intp) for tag, each in rows.items()}

    def tags_of(self, key: str, stamp_ns: int) -> list[Tag]:
        """Return a frame's tags of a key, at least one."""
        return [Tag(key, name) for name in self._names_at(key, stamp_ns) or (NO_TAG,)]

    def until_ns(self, key: str, stamp_ns: int) -> int | None:
        """Return when the tags in force at a moment end; None if they do not."""
        return self._next_ns(_name(key), stamp_ns)

    def changes(self) -> list[Change]:
        """Return all changes, ascending by time."""
        return sorted(self._all(), key=lambda change: change.start_ns)

    def _all(self) -> Iterator[Change]:
        for key, stamps in self._stamps.items():
            for stamp_ns, names in zip(stamps, self._names[key], strict=True):
                yield Change(key, stamp_ns, names)

    def _names_at(self, key: str, stamp_ns: int) -> tuple[str, ...]:
        place = bisect_right(self._stamps.get(key, ()), stamp_ns)
        return self._names[key][place - 1] if place else ()

    def _next_ns(self, key: str, stamp_ns: int) -> int | None:
        stamps = self._stamps.get(key, [])
        place = bisect_right(stamps, stamp_ns)
        return stamps[place] if place < len(stamps) else None

    def _change(self, key: str, stamp_ns: int, names: tuple[str, ...]) -> bool:
        is_full = self._changes >= _MOST_CHANGES
        if is_full or (key not in self._stamps and len(self._stamps) >= _MOST_KEYS):
            self._lost += 1
            return False
        kept = tuple(dict.fromkeys(self._bounded(Tag(key, name)) for name in names))
        stamps = self._stamps.setdefault(key, [])
        changed = self._names.setdefault(key, [])
        place = bisect_left(stamps, stamp_ns)
        if place < len(stamps) and stamps[place] == stamp_ns:
            changed[place] = kept
            return True
        stamps.insert(place, stamp_ns)
        changed.insert(place, kept)
        self._changes += 1
        return True

    def _bounded(self, tag: Tag) -> str:
        if tag.name == OTHER_TAGS or tag in self._known:
            return tag.name
        if len(self._known) < MOST_TAGS:
            self._known.add(tag)
            return tag.name
        if len(self._other) < MOST_TAGS:
            self._other[tag] = None
        return OTHER_TAGS


def _name(text: str) -> str:
    stripped = text.strip()
    return stripped if len(stripped) <= _LONGEST_NAME else f"{stripped[:_LONGEST_NAME]}…"


def _changes(key: str, spans: list[Span]) -> Iterator[Change]:
    """Yield where the tags of a key change that overlap; of each moment those that began first."""
    starts = sorted(range(len(spans)), key=lambda k: spans[k].start_ns)
    stops = sorted(range(len(spans)), key=lambda k: spans[k].stop_ns)
    moments = sorted({moment for span in spans for moment in (span.start_ns, span.stop_ns)})
    open_spans: dict[int, str] = {}
    began = ended = 0
    for moment in moments:
        while ended < len(stops) and spans[stops[ended]].stop_ns <= moment:
            open_spans.pop(stops[ended])
            ended += 1
        while began < len(starts) and spans[starts[began]].start_ns <= moment:
            open_spans[starts[began]] = spans[starts[began]].tag.name
            began += 1
        yield Change(key, moment, tuple(dict.fromkeys(open_spans.values())))
