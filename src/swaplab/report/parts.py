"""The parts of reports: data, which `swaplab.report.terminal` and `swaplab.report.page` show as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Chart", "Diagram", "Heading", "Line", "Part", "Table", "Verbatim"]


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


@dataclass(frozen=True)
class Heading:
    """The subject of the parts below."""

    text: str


@dataclass(frozen=True)
class Chart:
    """Curves or points in a plane. A terminal shows none, so everything important stands in a table as well.

    Attributes:
        title: above it.
        x, y: what the axes count, with the unit.
        series: points, in the order in which a line joins them, by the name of what they show.
        kind: whether lines join them.
        x_scale, y_scale: of the axes; ``symlog`` is logarithmic but around 0.
        marked: names of the series whose points are to be seen first.
        limit: where a vertical line stands, and what it is called.
        note: what has to be known beside it, and means nothing where it is not shown.
    """

    title: str
    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    kind: Literal["lines", "points"] = "lines"
    x_scale: Literal["linear", "symlog"] = "linear"
    y_scale: Literal["linear", "symlog"] = "linear"
    marked: tuple[str, ...] = ()
    limit: tuple[float, str] | None = None
    note: str = ""


class Line(NamedTuple):
    """A line of a diagram.

    Attributes:
        column: which it is in.
        depth: how many functions it stands in.
        text: what happens.
        state: what every object was last seen to be, as ``child.flags = 18``, once this has happened.
    """

    column: int
    depth: int
    text: str
    state: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagram:
    """The operations of each CPU, time downwards, and the bug at the end.

    Attributes:
        names: of the columns, by their numbers.
        lines: in the order in which they happen.
        end: what broke.
    """

    names: Mapping[int, str]
    lines: Sequence[Line]
    end: str


Part = str | Heading | Table | Chart | Diagram | Verbatim
"""A part of a report; a text is a paragraph."""
