"""Tables in a terminal that may be narrow: columns are left out before a number is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, JustifyMethod, RenderableType

_GAP = 2


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: its heading, which no other column has.
        cells: one for each row.
        narrowest: least width that can be read, in characters; 0 if no cell may be broken.
        rank: those with the highest are left out first where there is no room; 0 stays.
        justify: where its text begins.
    """

    title: str
    cells: Sequence[RenderableType]
    narrowest: int = 0
    rank: int = 0
    justify: JustifyMethod = "right"


def table_of(columns: Sequence[Column], styles: Sequence[str], console: Console) -> Table:
    """Return a table of the columns for which there is room.

    Args:
        columns: from left to right.
        styles: one for each row.
        console: where it will be printed.
    """
    # Rich would cut the cells of all columns alike.
    longest = {
        each.title: max(console.measure(cell).maximum for cell in (each.title, *each.cells))
        for each in columns
    }
    widths = {
        each.title: min(each.narrowest or longest[each.title], longest[each.title])
        for each in columns
    }
    kept = list(columns)
    while (spare := console.width + _GAP - sum(widths[each.title] + _GAP for each in kept)) < 0:
        least_needed = max(kept, key=lambda each: each.rank)
        if not least_needed.rank:
            break
        kept.remove(least_needed)
    for each in sorted(kept, key=lambda each: longest[each.title]):
        more = min(longest[each.title] - widths[each.title], max(spare, 0))
        widths[each.title] += more
        spare -= more
    table = Table(box=None, header_style="bold", pad_edge=False)
    for each in kept:
        table.add_column(each.title, justify=each.justify, width=widths[each.title])
    for *cells, style in zip(*(each.cells for each in kept), styles, strict=True):
        table.add_row(*cells, style=style)
    return table
