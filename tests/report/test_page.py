"""Reports as pages: whole, harmless, and readable by whoever opens them."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest

from swaplab.errors import SwaplabError
from swaplab.report.page import page, write_page
from swaplab.report.parts import Chart, Diagram, Heading, Line, Part, Table, Verbatim
from swaplab.report.terminal import rendered
from swaplab.report.vega import SERIES_MAX, check_installed, svg

EVIL = "<script>alert(1)</script><img src=//x onerror='a'>\"&\x1b]0;x\x07"
CURVES = {"a": [(0, 0), (1, 3)], "b": [(0, 2), (1, 1)]}


def everything(name: str) -> list[Part]:
    """One of each part, with a name wherever one may stand."""
    table = Table(name, [name, name], rows=[(name, name), None, (name, "2")])
    lines = [Line(0, 0, name, (name,)), Line(1, 2, name)]
    chart = Chart(name, name, name, {name: [(0, 1), (2, 3)], "other": [(1, 1)]}, limit=(1, name), note=name)
    return [name, Heading(name), table, chart, Diagram({0: name, 1: name}, lines, name), Verbatim(name)]


class Seen(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_names_hold_is_shown_and_never_obeyed() -> None:
    found, harmless = Seen(page(EVIL, everything(EVIL))), Seen(page("x", everything("x")))
    assert found.tags == harmless.tags
    assert [name for name, _ in found.attributes] == [name for name, _ in harmless.attributes]
    names = harmless.text.count("x") - Seen(page("", [])).text.count("x")
    assert found.text.count("<script>alert(1)</script>") == names
    assert "\x1b" not in found.text
    assert "\\x1b]0;x\\x07" in found.text


def test_a_page_fetches_and_runs_nothing() -> None:
    text = page("title", everything("name"))
    found = Seen(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {*found.tags}
    assert not {name for name, _ in found.attributes if name.startswith("on") or name in ("src", "href", "xlink:href")}
    assert not re.search(r"url\((?!#)|@import", text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes


def test_tables_are_tables() -> None:
    table = Table("Sizes", ["name", "in\ntwo"], rows=[("a", "1"), None, ("b", "2\n3")])
    text = page("", [table])
    assert "<caption>Sizes</caption>" in text
    assert '<th scope="col">name</th><th scope="col" class="number">in<br>two</th>' in text
    assert '<tr><th scope="row">a</th><td class="number">1</td></tr>' in text
    assert text.count("<tbody>") == 2


def test_each_step_of_a_diagram_stands_in_its_column_with_the_state_after_it() -> None:
    lines = [Line(2, 0, "write\u00a0x\u00a0= 1", ("x = 1", "y = 2")), Line(5, 3, "read x")]
    text = page("", [Diagram({2: "CPU0", 5: "CPU1"}, lines, "data race: it is so")])
    assert '<tr><td style="--depth: 0" title="x = 1\ny = 2">write x = 1</td><td></td></tr>' in text
    assert '<tr><td></td><td style="--depth: 3">read x</td></tr>' in text
    assert "=&gt; data race: it is so" in text


@pytest.mark.parametrize("kind", ["lines", "points"])
def test_series_are_told_apart_without_colour(kind: Literal["lines", "points"]) -> None:
    series = {f"s{number}": [(0, number), (1, number)] for number in range(SERIES_MAX)}
    drawn = svg(Chart("", "x", "y", series, kind=kind))
    marks = re.findall(r"<path [^>]*var\(--series-\d\)[^>]*>", drawn[drawn.index("role-legend") :])
    assert len(marks) == SERIES_MAX
    assert len({re.sub(r"var\(--series-\d\)", "", mark) for mark in marks}) == SERIES_MAX


def test_a_chart_is_the_same_every_time_and_has_its_limit() -> None:
    chart = Chart("Misses", "MiB", "misses", CURVES, limit=(0.5, "memory.max"))
    assert svg(chart) == svg(chart)
    assert "memory.max" in svg(chart)
    assert "memory.max" not in svg(Chart("Misses", "MiB", "misses", CURVES))


def test_a_terminal_shows_all_but_charts() -> None:
    assert [type(part) for part in everything("x") if rendered(part) is None] == [Chart]


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_page(tmp_path / "x.html", "caf\u00e9 \udcff", [])
    assert "caf\u00e9 \\xff" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_without_what_draws_charts_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr("swaplab.report.vega.find_spec", lambda name: None)
    with pytest.raises(SwaplabError, match=r"pip install 'swaplab\[html\]'"):
        check_installed()
