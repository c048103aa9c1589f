"""``swaplab top``: what every cgroup does with zswap, live."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import Flag, say_json, show
from swaplab.doctor.top import Row, read_usages, rows
from swaplab.doctor.what_if import read_shares
from swaplab.errors import SwaplabError
from swaplab.report.top import top_report

__all__ = ["top"]

Column = Literal["cgroup", "resident", "compressed", "ratio", "loads", "stores", "writebacks", "refaults", "pressure"]


def top(
    *,
    every: Annotated[float, Parameter(validator=Number(gte=0.1, lte=3600))] = 2.0,
    count: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1_000_000))] = None,
    sort: Column = "resident",
    profile: Path | None = None,
    json: Flag = False,
) -> None:
    """Show what every cgroup has in zswap, and how many pages come and go a second. It changes nothing.

    Parameters
    ----------
    every
        Seconds between two looks.
    count
        Print this number of tables and end. If standard output is no terminal, the default is one.
    sort
        The column to sort by, the largest first.
    profile
        The output of `swaplab profile --json`: shows what zswap would save of the selected cgroup.
    json
        Print each look as one line of JSON.
    """
    shares = read_shares(profile) if profile else {}
    if count is None and not json and sys.stdout.isatty():
        if find_spec("textual") is None:
            raise SwaplabError("a live screen takes Textual: pip install 'swaplab[top]'; --count 1 prints a table")
        from swaplab.cli.screen import Screen  # noqa: PLC0415 - an extra

        Screen(every, sort, shares).run()
        return
    for number, (found, unread) in enumerate(_looks(every), 1):
        if json:
            say_json({"cgroups": [row._asdict() for row in found], "unread": unread})
        else:
            show(top_report(found, unread, sort))
        sys.stdout.flush()
        if number == (count if count is not None or json else 1):
            return


def _looks(every: float) -> Iterator[tuple[list[Row], list[str]]]:
    """Look at the machine again and again, without end."""
    began, (before, _) = monotonic(), read_usages()
    while True:
        sleep(every)
        now, (after, unread) = monotonic(), read_usages()
        yield rows(before, after, now - began), unread
        began, before = now, after
