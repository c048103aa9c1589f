"""How values show themselves in a notebook: as the reports that the command line has of them."""

from __future__ import annotations

from pkgutil import resolve_name

__all__ = ["REPORTER", "Shown"]

REPORTER = "swaplab.report.notebook:html"
"""The function that makes HTML of a value. Reports stand above results and verdicts, so here is only its name."""


class Shown:
    """A value that a notebook shows as a report. The report is imported when a notebook asks for it, not before."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        shown: str = resolve_name(REPORTER)(self)
        return shown
