"""The live screen of ``swaplab top``."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Sparkline, Static

from swaplab.doctor.top import MACHINE, Row, read_usages, rows
from swaplab.report.top import COLUMNS, cells, sorted_by, what_if

__all__ = ["Screen"]

HISTORY = 120
CHARTED = ("compressed", "loads", "stores")


def _heading(key: str) -> str:
    return COLUMNS[key].replace("\n", "")


class Screen(App[None]):
    """A table of cgroups, and of the selected one how it went.

    Args:
        every: seconds between two looks.
        sort: the column to sort by.
        shares: what zswap would save, as of `read_shares`.
        root: where ``proc`` and ``sys`` are.
    """

    CSS = """
    DataTable { height: 1fr; }
    #details { height: auto; padding: 0 1; }
    Sparkline { height: 2; margin: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "sort by the next column"),
        Binding("c", "chart", "chart the next column"),
        Binding("q", "quit", "quit"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, every: float, sort: str, shares: Mapping[str, Mapping[str, float]], root: Path = Path("/")
    ) -> None:
        super().__init__()
        self._every, self._sort, self._shares, self._root = every, sort, shares, root
        self._charted = CHARTED[0]
        self._looked, (self._before, self._unread) = monotonic(), read_usages(root)
        self._rows: list[Row] = rows({}, self._before, 1)
        self._past: dict[str, deque[Row]] = {}

    def compose(self) -> ComposeResult:
        """The table, the selected cgroup's line and chart, and the keys."""
        yield DataTable[Text](cursor_type="row", zebra_stripes=True)
        yield Static(id="details", markup=False)
        yield Sparkline([])
        yield Footer()

    def on_mount(self) -> None:
        """Show the first look, and go on looking."""
        for key in COLUMNS:
            self._table.add_column(_heading(key), key=key)
        self._show()
        self.set_interval(self._every, self.look)

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    def look(self) -> None:
        """Read all counters again."""
        now, (after, self._unread) = monotonic(), read_usages(self._root)
        self._rows = rows(self._before, after, now - self._looked)
        self._looked, self._before = now, after
        self._past = {row.cgroup: self._past.get(row.cgroup, deque(maxlen=HISTORY)) for row in self._rows}
        for row in self._rows:
            self._past[row.cgroup].append(row)
        self._show()

    def action_sort(self) -> None:
        """Sort by the next column."""
        keys = list(COLUMNS)
        self._sort = keys[(keys.index(self._sort) + 1) % len(keys)]
        self._show()

    def action_chart(self) -> None:
        """Chart something else of the selected cgroup."""
        self._charted = CHARTED[(CHARTED.index(self._charted) + 1) % len(CHARTED)]
        self._show_details()

    def on_data_table_row_highlighted(self) -> None:
        """Another cgroup was selected."""
        self._show_details()

    @property
    def selected(self) -> str:
        """The cgroup that the cursor is on."""
        table = self._table
        if not table.row_count:
            return MACHINE
        key = table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value
        return key or MACHINE

    def _show(self) -> None:
        """Fill the table anew, with the cursor on the cgroup on which it was."""
        table, selected = self._table, self.selected
        table.clear()
        ordered = sorted_by(self._rows, self._sort)
        for row in ordered:
            name, *numbers = cells(row)
            table.add_row(Text(name), *(Text(cell, justify="right") for cell in numbers), key=row.cgroup)
        names = [row.cgroup for row in ordered]
        table.move_cursor(row=names.index(selected) if selected in names else 0, animate=False)
        self._show_details()

    def _show_details(self) -> None:
        selected = self.selected
        row = next((each for each in self._rows if each.cgroup == selected), self._rows[0])
        said = [f"sorted by {_heading(self._sort)}; below: {_heading(self._charted)} of {next(cells(row))}"]
        said += [line for line in [what_if(row, self._shares)] if line]
        said += [f"not read: {line}" for line in self._unread[:1]]
        self.query_one("#details", Static).update("\n".join(said))
        past = self._past.get(row.cgroup, ())
        self.query_one(Sparkline).data = [float(getattr(each, self._charted) or 0) for each in past]
