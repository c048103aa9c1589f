"""What reports are made of: data, which `swaplab.report.terminal` and `swaplab.report.page` show as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Part", "Table", "Verbatim"]


@dataclass
class Table:
    """Numbers and names in columns.

    Attributes:
        title: above it; may be empty.
        headings: of the columns; a line break in one is a wish.
        texts: how many of the columns, the first ones, are texts. All others are numbers.
        rows: a cell for each column; None is a line between those above and below.
    """

    title: str
    headings: Sequence[str]
    texts: int = 1
    rows: list[tuple[str, ...] | None] = field(default_factory=list)

    def add_row(self, *cells: str) -> None:
        """Add a row; what it has fewer cells than there are columns stays empty."""
        self.rows.append(cells + ("",) * (len(self.headings) - len(cells)))

    def add_section(self) -> None:
        """Part the rows above from those below."""
        self.rows.append(None)


@dataclass(frozen=True)
class Verbatim:
    """Lines that stay as they are: what is to be typed, or drawn with characters."""

    text: str


Part = str | Table | Verbatim
"""A part of a report; a text is a paragraph."""
