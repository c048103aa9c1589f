"""Reports as one HTML file that needs nothing else: no script, no font and no picture from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch
from html import escape
from pathlib import Path

from swaplab import __version__
from swaplab.files import write_whole
from swaplab.report.diagram import FIXED
from swaplab.report.parts import Chart, Diagram, Heading, Part, Table, Verbatim
from swaplab.report.vega import svg
from swaplab.text import FALLBACK, shown, shown_lines

__all__ = ["COLOURS", "fragment", "page", "write_page"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The policy for browsers: they allow nothing but the style in the page."""
COLOURS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --faint: #5f6368; --grid: #dfe1e5; --mark: #f3f4f6;
  --series-0: #0063a6; --series-1: #b34700; --series-2: #00714f; --series-3: #8e3a80; --series-4: #6b5b00;
  --series-5: #444; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e8eaed; --faint: #a0a6ad; --grid: #3a3f46;
  --mark: #23272d; --series-0: #6bb8ff; --series-1: #ff9e5e; --series-2: #4fd1a1; --series-3: #e39bd6;
  --series-4: #d9c75a; --series-5: #c4c7cc; } }
"""
"""Of text and series, as CSS variables: on light paper, and on dark where the reader's is."""
STYLE = """
body { background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
footer { color: var(--faint); font-size: .85rem; margin-top: 3rem; }
@media print { body { max-width: none; padding: 0; } }
"""
PARTS_STYLE = """
h2 { font-size: 1.1rem; margin-top: 2.2rem; overflow-wrap: anywhere; }
p { max-width: 48rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption, figcaption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .18rem .9rem .18rem 0; vertical-align: top; max-width: 24rem;
  overflow-wrap: break-word; }
thead th { font-weight: normal; color: var(--faint); vertical-align: bottom; border-bottom: 1px solid var(--grid); }
tbody + tbody { border-top: 1px solid var(--grid); } .number { text-align: right; white-space: nowrap; }
tbody th { font-weight: normal; }
figure { margin: 1.2rem 0; } figure svg { max-width: 100%; height: auto; }
pre { background: var(--mark); padding: .7rem; overflow-x: auto; font-size: .85rem; line-height: 1.35; }
.diagram td { font: .82rem/1.35 ui-monospace, monospace; padding-left: calc(var(--depth, 0) * 1rem); }
.diagram td[title]:hover { background: var(--mark); }
.end { font-weight: 600; }
@media print { .wide, pre { overflow: visible; white-space: pre-wrap; } figure, tr { break-inside: avoid; } }
"""
"""Of the parts, on a page as in a cell of a notebook."""
CELL_COLOURS = """
--ink: currentColor; --faint: #808080; --grid: #8080806b; --mark: #8080801f; --series-0: #2f8fd6; --series-1: #d9722e;
--series-2: #1f9d78; --series-3: #b066a8; --series-4: #958420; --series-5: #888;
"""
"""Seen on light and on dark alike: a notebook has a theme of its own, and does not say which."""


def write_page(path: Path, title: str, parts: Iterable[Part]) -> None:
    """Write a report as an HTML file, whole.

    Raises:
        SwaplabError: it has a chart, and what draws them is not installed.
    """
    text = page(title, parts)
    with write_whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=FALLBACK)


def page(title: str, parts: Iterable[Part]) -> str:
    """Return a report as an HTML page. What names hold is shown and never obeyed."""
    body = _body(parts)
    name = escape(shown(title))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{COLOURS}{STYLE}{PARTS_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
{body}
<footer>swaplab {__version__}</footer>
</body>
</html>
"""


def fragment(parts: Iterable[Part]) -> str:
    """Return a report as HTML for a cell of a notebook, whose own style it leaves alone."""
    style = f".swaplab {{ {CELL_COLOURS}{PARTS_STYLE} }}"
    return f'<div class="swaplab"><style>{style}</style>\n{_body(parts)}\n</div>'


def _body(parts: Iterable[Part]) -> str:
    return "\n".join(_html(part) for part in parts)


@singledispatch
def _html(part: Part) -> str:
    """Return a part as HTML."""
    raise TypeError(part)


@_html.register
def _(part: str) -> str:
    return f"<p>{_text(part)}</p>"


@_html.register
def _(part: Heading) -> str:
    return f"<h2>{_text(part.text)}</h2>"


@_html.register
def _(part: Verbatim) -> str:
    return f"<pre>{_escaped(part.text)}</pre>"


@_html.register
def _(part: Chart) -> str:
    drawn = svg(part)
    label = escape(f"{shown(part.title)}: {part.y} by {part.x}")
    drawn = drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    note = f"\n<p>{_text(part.note)}</p>" if part.note else ""
    return f"<figure><figcaption>{_text(part.title)}</figcaption>\n{drawn}{note}</figure>"


@_html.register
def _(part: Table) -> str:
    heads = [f'<th scope="col"{_number(part, column)}>{_text(each)}</th>' for column, each in enumerate(part.headings)]
    caption = f"<caption>{_text(part.title)}</caption>" if part.title else ""
    head = f"<thead><tr>{''.join(heads)}</tr></thead>" if any(part.headings) else ""
    bodies = "\n".join(f"<tbody>\n{rows}\n</tbody>" for rows in _sections(part))
    return f'<div class="wide"><table>{caption}{head}\n{bodies}</table></div>'


def _sections(part: Table) -> Iterator[str]:
    """Yield the rows between two lines, and so on."""
    rows: list[str] = []
    for row in (*part.rows, None):
        if row is None:
            yield "\n".join(rows)
            rows = []
        else:
            rows.append(f"<tr>{_cells(part, row)}</tr>")


def _cells(part: Table, row: Sequence[str]) -> str:
    first, *others = row
    cells = [f"<td{_number(part, column)}>{_text(each)}</td>" for column, each in enumerate(others, 1)]
    return "".join([f'<th scope="row">{_text(first)}</th>', *cells])


def _number(part: Table, column: int) -> str:
    return ' class="number"' if column >= part.texts else ""


@_html.register
def _(part: Diagram) -> str:
    columns = list(part.names)
    head = "".join(f'<th scope="col">{_text(part.names[column])}</th>' for column in columns)
    rows = []
    for line in part.lines:
        place = columns.index(line.column)
        state = f' title="{_escaped(chr(10).join(line.state))}"' if line.state else ""
        cell = f'<td style="--depth: {line.depth}"{state}>{_text(line.text)}</td>'
        rows.append(f"<tr>{'<td></td>' * place}{cell}{'<td></td>' * (len(columns) - place - 1)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="wide"><table class="diagram"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n'
        f'<p class="end">=&gt; {_text(part.end)}</p></div>'
    )


def _text(text: str) -> str:
    return _escaped(text).replace("\n", "<br>")


def _escaped(text: str) -> str:
    """Return lines of text, whose spaces that do not break are spaces here: a browser breaks where it has to."""
    return escape(shown_lines(text.replace(FIXED, " ")))
