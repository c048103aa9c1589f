"""Values in a cell of a notebook, and in the hands of other libraries."""

from __future__ import annotations

import sys
from pkgutil import resolve_name

import msgspec
import pyarrow as pa
import pytest
from tests.report.test_page import EVIL, Seen
from tests.report.test_run import make, scenario

from swaplab.explore import Holds, Program, Violated, explore
from swaplab.kernel.sync import READ_ONCE, Shared
from swaplab.notebook import REPORTER
from swaplab.report.notebook import html
from swaplab.result import Guest, Result
from swaplab.scenario.model import Cgroup
from swaplab.study.plan import Variant
from swaplab.study.table import Outcome, spreads

WEB = {"web": {"anon": 7 << 20, "zswpin": 1234}}
WITH_WEB = scenario(cgroups={"web": Cgroup()})


def test_a_result_shows_itself() -> None:
    found = Seen(make(cgroups=WEB, of=WITH_WEB)._repr_html_())
    assert "not measured on one" in found.text
    assert "1,234" in found.text
    assert found.tags.count("table") == 2


def test_what_a_kernel_did_is_not_called_a_replay() -> None:
    result = make(cgroups=WEB, of=WITH_WEB)
    guest = Guest("Linux version 6.12.57", "tcg", 1 << 28, 1 << 27, 0, {}, 9.0, 1, instruction_ns=1)
    info = msgspec.structs.replace(result.info, engine="kernel", release=guest.release, guest=guest)
    text = Seen(Result(info, result.samples)._repr_html_()).text
    assert "measured on Linux 6.12.57" in text
    assert "Replayed" not in text


def test_names_in_a_cell_are_not_obeyed() -> None:
    name = msgspec.structs.replace(scenario(), name=EVIL)
    found = Seen(make(of=name)._repr_html_())
    assert not {"script", "img"} & {*found.tags}


def test_charts_are_those_of_the_machine_and_none_where_nothing_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    result = make(cgroups=WEB, of=WITH_WEB, anon=7 << 20, zswpin=1234)
    assert Seen(result._repr_html_()).tags.count("figure") == 2
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr("swaplab.report.notebook.find_spec", lambda _: None)
    assert Seen(result._repr_html_()).tags.count("figure") == 0


def test_a_result_is_arrow() -> None:
    result = make(cgroups=WEB, of=WITH_WEB)
    assert pa.table(result).equals(result.samples)


def outcome(memory: float, time_lost: float) -> Outcome:
    return Outcome(memory, 1, 2, 3, time_lost, 0)


def test_a_study_shows_itself_and_is_arrow() -> None:
    def variant(compressor: str, seed: int) -> Variant:
        return Variant({"zswap.compressor": compressor}, WITH_WEB, seed)

    variants = [variant(name, seed) for name in ("lz4", "zstd") for seed in range(3)]
    found = spreads(variants, [outcome(1 << 20, ms * 1e6) for ms in (1, 2, 9, 4, 5, 6)])
    assert found.seeds == 3
    text = Seen(found._repr_html_()).text
    assert "medians of 3 seeds" in text
    assert "1.00 ms..9.00 ms" in text
    table = pa.table(found)
    assert table["zswap.compressor"].to_pylist() == ["lz4", "zstd"]
    assert table.select(["time_lost_least", "time_lost", "time_lost_most"]).to_pylist()[0] == {
        "time_lost_least": 1e6,
        "time_lost": 2e6,
        "time_lost_most": 9e6,
    }


class Box(Shared):
    value: int = 0


def add(box: Box) -> None:
    READ_ONCE(box).value = READ_ONCE(box).value + 1


def both(box: Box) -> bool:
    return box.value == 2


def test_a_verdict_shows_itself() -> None:
    alone = explore(Program("one", Box, {"CPU0": add}))
    assert isinstance(alone, Holds)
    assert "holds, complete" in Seen(alone._repr_html_()).text
    broken = explore(Program("two", Box, {"CPU0": add, "CPU1": add}, {"two were added": both}))
    assert isinstance(broken, Violated)
    found = Seen(broken._repr_html_())
    assert "two were added" in found.text
    assert ("class", "diagram") in found.attributes


def test_the_name_of_what_makes_reports_is_that() -> None:
    assert resolve_name(REPORTER) is html
