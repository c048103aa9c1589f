"""Tables in narrow terminals: all that they say is there, and no line is wider than the terminal."""

from __future__ import annotations

import io
import random
import string
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from swaplab.cli.common import show
from swaplab.report.parts import Table, Verbatim
from swaplab.report.terminal import rendered

WIDTHS = range(20, 81)
DRAWN = "─━ │┃┏┓┗┛┳┻╇┡┩└┴┘├┼┤"  # by rich


def printed(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    console.print(rendered(table))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def letters(*texts: str) -> Counter[str]:
    return Counter(letter for text in texts for letter in text if not letter.isspace() and letter not in DRAWN)


def name(choose: random.Random, longest: int) -> str:
    return "".join(choose.choices(string.ascii_letters + "/.-", k=choose.randint(1, longest)))


def number(choose: random.Random) -> str:
    return choose.choice(["-", "9.5 MiB", "1.25 s", "1,234,567", f"{choose.randrange(10**9):,}", "0.1%..99.9%"])


def a_table(seed: int) -> Table:
    """A table of the kind that reports are made of: names, and numbers."""
    choose = random.Random(seed)  # noqa: S311 - for the same every time
    headings = [f"{name(choose, 12)}\n{name(choose, 6)}" for _ in range(choose.randint(1, 12))]
    if seed % 3 == 0:
        headings = [""] * len(headings)
    table = Table(name(choose, 60), headings, texts=choose.randint(1, len(headings)))
    for _ in range(choose.randint(1, 4)):
        table.add_row(name(choose, 100), *(number(choose) for _ in headings[1:]))
    return table


@pytest.mark.parametrize("seed", range(12))
def test_no_text_is_cut_at_any_width(seed: int) -> None:
    table = a_table(seed)
    rows = [row for row in table.rows if row]
    for width in WIDTHS:
        lines = printed(table, width)
        assert not letters(*(cell for row in rows for cell in row), table.title) - letters(*lines)
        assert "…" not in "".join(lines)
        assert max(map(len, lines)) <= width
        joined = " ".join(" ".join(lines).split())
        assert all(cell in joined for row in rows for cell in row[1:])


def test_columns_stand_side_by_side_where_there_is_room_and_below_each_other_where_not() -> None:
    table = Table("Numbers", ["cgroup", "from\nmemory", "writes"])
    table.add_row("a", "1,234", "-")
    table.add_row("machine", "99", "")
    assert [line.split() for line in printed(table, 80)] == [
        ["Numbers"],
        ["from"],
        ["cgroup", "memory", "writes"],
        ["─" * 28],
        ["a", "1,234", "-"],
        ["machine", "99"],
    ]
    assert printed(table, 20) == [
        "Numbers",
        "a",
        "  from memory: 1,234",
        "  writes: -",
        "machine",
        "  from memory: 99",
    ]


def test_a_cell_of_several_lines_begins_below_its_heading() -> None:
    table = Table("Kinds", ["kind", "curve", "apart"])
    table.add_row("zswap", "__..--==\n--==++**", "9%")
    assert printed(table, 20) == ["Kinds", "zswap", "  curve:", "  __..--==", "  --==++**", "  apart: 9%"]


def test_what_is_to_be_typed_is_never_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    show(["a sentence of several words", Verbatim("echo Y > /sys/module/zswap/parameters/enabled")])
    said = capsys.readouterr().out.splitlines()
    assert len(said[0]) <= 20
    assert said[-1] == "echo Y > /sys/module/zswap/parameters/enabled"


def test_every_table_is_of_this_kind() -> None:
    source = Path(__file__).parents[2] / "src/swaplab"
    of_rich = [path.name for path in source.rglob("*.py") if "from rich.table import" in path.read_text()]
    assert of_rich == ["terminal.py"]
