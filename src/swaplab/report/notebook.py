"""Results, sweeps and verdicts as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import singledispatch
from importlib.util import find_spec

from swaplab.explore import Bounded, Holds, Violated
from swaplab.notebook import Shown
from swaplab.report.check import verdict_parts
from swaplab.report.page import fragment
from swaplab.report.parts import Chart, Part
from swaplab.report.run import run_report
from swaplab.report.sweep import sweep_report
from swaplab.report.vm import kernel_report
from swaplab.result import Result
from swaplab.study.table import Spreads

__all__ = ["html"]

CHARTS_MAX = 2
"""Those of the machine, of a result; a cell is no place for two charts of each cgroup."""


def html(value: Shown) -> str:
    """Return a value as HTML for a cell of a notebook; without charts where vl-convert is not installed."""
    return fragment(_few_charts(_parts(value), CHARTS_MAX if find_spec("vl_convert") else 0))


def _few_charts(parts: Iterable[Part], most: int) -> Iterator[Part]:
    for part in parts:
        most -= isinstance(part, Chart)
        if most >= 0 or not isinstance(part, Chart):
            yield part


@singledispatch
def _parts(value: Shown) -> Iterable[Part]:
    """Return the report of a value."""
    raise TypeError(value)


@_parts.register
def _(value: Result) -> Iterable[Part]:
    return run_report([value]) if value.info.engine == "replay" else kernel_report([[value]], None)


@_parts.register
def _(value: Spreads) -> Iterable[Part]:
    return sweep_report(value)


@_parts.register(Holds)
@_parts.register(Bounded)
@_parts.register(Violated)
def _(value: Holds | Bounded | Violated) -> Iterable[Part]:
    return verdict_parts(value)
