from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from deeplab_miou.report.columns import Column, table_of

NAME = "a class with a long name"


def lines(width, *columns):
    console = Console(width=width, file=io.StringIO())
    console.print(table_of(columns, [""] * len(columns[0].cells), console))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def columns():
    return [
        Column("class", [Text(NAME), Text("\u9053\u8def")], narrowest=8, justify="left"),
        Column("IoU", ["0.1234", "0.5678"]),
        Column("95 %", ["[0.1000, 0.2000]", ""], narrowest=9, justify="left"),
        Column("F1", ["0.3333", "0.4444"], rank=2),
        Column("pixels", ["1,234", "5,678"], rank=1),
    ]


def test_all_columns_are_there_where_there_is_room():
    assert lines(80, *columns()) == [
        "class                        IoU  95 %                  F1  pixels",
        f"{NAME}  0.1234  [0.1000, 0.2000]  0.3333   1,234",
        "\u9053\u8def                      0.5678                    0.4444   5,678",
    ]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (43, ["class", "IoU", "95 %", "F1", "pixels"]),
        (42, ["class", "IoU", "95 %", "pixels"]),
        (35, ["class", "IoU", "95 %", "pixels"]),
        (34, ["class", "IoU", "95 %"]),
        (27, ["class", "IoU", "95 %"]),
    ],
)
def test_columns_are_left_out_before_a_number_is_cut(width, titles):
    heading, *rows = lines(width, *columns())
    assert heading.replace("95 %", "95_%").split() == [each.replace(" ", "_") for each in titles]
    assert max(map(len, [heading, *rows])) <= width
    values = {"IoU": "0.5678", "F1": "0.4444", "pixels": "5,678"}
    shown = next(row for row in rows if "\u9053\u8def" in row)
    assert shown.split()[1:] == [values[each] for each in titles if each in values]
    assert "[0.1000," in "".join(rows)
    assert "0.2000]" in "".join(rows)
