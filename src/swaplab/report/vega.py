"""Charts as SVG, drawn by Vega-Lite when the page is written: the page needs no script."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from swaplab.errors import SwaplabError
from swaplab.report.parts import Chart
from swaplab.text import shown

__all__ = ["SERIES_MAX", "check_installed", "svg"]

WIDTH, HEIGHT = 560, 220
DASHES = ([1, 0], [6, 3], [2, 2], [10, 3, 2, 3], [1, 4], [12, 4])
SHAPES = ("circle", "square", "triangle-up", "cross", "diamond", "triangle-down")
SERIES_MAX = len(DASHES)
"""Series are told apart by dashes and shapes, so that it takes no colour."""
POWERS = [0, *(10**power for power in range(13))]
INK, FAINT, GRID = "var(--ink)", "var(--faint)", "var(--grid)"


def svg(chart: Chart) -> str:
    """Return a chart as an SVG element. Its colours are the CSS variables of `swaplab.report.page`.

    Raises:
        SwaplabError: vl-convert is not installed.
    """
    check_installed()
    from vl_convert import vegalite_to_svg  # noqa: PLC0415 - an extra, and it takes 70 ms

    return str(vegalite_to_svg(_spec(chart)))


def check_installed() -> None:
    """Refuse to begin what could not be drawn in the end.

    Raises:
        SwaplabError: vl-convert is not installed.
    """
    if find_spec("vl_convert") is None:
        raise SwaplabError("--html takes vl-convert: pip install 'swaplab[html]'")


def _spec(chart: Chart) -> dict[str, Any]:
    """Return the chart in Vega-Lite's grammar. vl-convert ends the process at a character that XML has not."""
    values = [
        {"x": x, "y": y, "series": shown(name), "order": order}
        for name, points in chart.series.items()
        for order, (x, y) in enumerate(points)
    ]
    limits = [{"x": chart.limit[0], "label": shown(chart.limit[1])}] if chart.limit else []
    return {
        "data": {"values": values},
        "width": WIDTH,
        "height": HEIGHT,
        "layer": [_curves(chart), *(_limit(limits) if limits else [])],
        "config": _CONFIG,
    }


def _curves(chart: Chart) -> dict[str, Any]:
    names = [shown(name) for name in chart.series]
    is_lines = chart.kind == "lines"
    legend = {"title": None, "orient": "top", "symbolStrokeColor": INK} if len(names) > 1 else None

    def told_apart(values: list[Any]) -> dict[str, Any]:
        scale = {"domain": names, "range": values[: len(names)]}
        return {"field": "series", "type": "nominal", "scale": scale, "legend": legend}

    def axis(field: str, title: str, scale: str) -> dict[str, Any]:
        bounds = {"type": scale, "zero": is_lines}
        ticks = {"axis": {"values": POWERS}} if scale == "symlog" else {}
        return {"field": field, "type": "quantitative", "title": title, "scale": bounds, **ticks}

    how = {"strokeDash": told_apart(list(DASHES))} if is_lines else {"shape": told_apart(list(SHAPES))}
    large = {"test": {"field": "series", "oneOf": [shown(name) for name in chart.marked]}, "value": 190}
    size = (
        {"order": {"field": "order", "type": "quantitative"}}
        if is_lines
        else {"size": {"condition": large, "value": 40}}
    )
    return {
        "mark": {"type": "line", "strokeWidth": 1.8} if is_lines else {"type": "point", "filled": True},
        "encoding": {
            "x": axis("x", shown(chart.x), chart.x_scale),
            "y": axis("y", shown(chart.y), chart.y_scale),
            "color": told_apart([f"var(--series-{number})" for number in range(SERIES_MAX)]),
            **how,
            **size,
        },
    }


def _limit(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A vertical line and its name."""
    place = {"x": {"field": "x", "type": "quantitative"}}
    text = {"type": "text", "align": "left", "dx": 4, "y": 8, "color": INK}
    return [
        {"data": {"values": values}, "mark": {"type": "rule", "color": INK, "strokeDash": [4, 4]}, "encoding": place},
        {"data": {"values": values}, "mark": text, "encoding": {**place, "text": {"field": "label"}}},
    ]


_CONFIG = {
    "background": None,
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "view": {"stroke": GRID},
    "axis": {
        "labelColor": FAINT,
        "titleColor": INK,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "labelFontSize": 12,
        "titleFontSize": 13,
        "tickCount": 6,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 13,
        "labelLimit": 400,
        "columns": 4,
        "columnPadding": 24,
        "symbolSize": 90,
    },
}
