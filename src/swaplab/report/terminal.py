"""Reports for a terminal. Nothing is cut from their tables, however narrow it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from swaplab.report.diagram import diagram
from swaplab.report.parts import Chart, Diagram, Heading, Part, Table

__all__ = ["rendered"]

FOLDED_MIN = 12  # columns that a cell is folded into, unless it needs fewer
ENDLESS = 1 << 20


class _FittingTable(RichTable):
    """A table whose rows become lines, one for each cell, where there is no room for the columns side by side.

    A column that does not wrap has all the room that it needs; any other folds what is longer than `FOLDED_MIN`.
    """

    def add_column(self, *arguments: Any, overflow: Any = "fold", **keys: Any) -> None:  # noqa: ANN401 - as Table has it
        """Add a column: as rich does, which by itself would cut what is too long."""
        super().add_column(*arguments, overflow=overflow, **keys)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out, as rich asks for."""
        if self._least(console, options) <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            yield from self._lines()

    def _least(self, console: Console, options: ConsoleOptions) -> int:
        """The width that it needs."""
        whole = Measurement.get(console, options.update(width=ENDLESS), self).maximum
        return whole - sum(max(0, _width(column) - FOLDED_MIN) for column in self.columns if not column.no_wrap)

    def _lines(self) -> Iterator[Text | Padding]:
        if self.title:
            yield Text(str(self.title).strip())
        headings = [" ".join(str(column.header).split()) for column in self.columns]
        for name, *cells in zip(*(map(str, column.cells) for column in self.columns), strict=True):
            yield Text(name)
            for heading, cell in zip(headings[1:], cells, strict=True):
                if cell:
                    yield Padding(Text(_line(heading, cell)), (0, 0, 0, 2), expand=False)


def _width(column: Column) -> int:
    lines = [line for cell in (column.header, *column.cells) for line in str(cell).split("\n")]
    return max(map(cell_len, lines))


def _line(heading: str, cell: str) -> str:
    if not heading:
        return cell
    return f"{heading}:\n{cell}" if "\n" in cell else f"{heading}: {cell}"


def rendered(part: Part) -> RenderableType | None:
    """Return what rich prints for a part of a report; None for a chart."""
    if isinstance(part, Chart):
        return None
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Diagram):
        return Text(diagram(part))
    if isinstance(part, Heading):
        return Text(part.text, style="bold")
    return Text(part if isinstance(part, str) else part.text)


def _table(part: Table) -> _FittingTable:
    table = _FittingTable(
        title=Text(part.title) if part.title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_header=any(part.headings),
        padding=(0, 1, 0, 0),
        collapse_padding=True,
    )
    table.show_edge = table.pad_edge = False
    for number, heading in enumerate(part.headings):
        is_text = number < part.texts
        table.add_column(
            heading,
            justify="left" if is_text else "right",
            no_wrap=not is_text,
            min_width=FOLDED_MIN if number == 0 else None,
        )
    for row in part.rows:
        table.add_section() if row is None else table.add_row(*map(Text, row))
    return table
