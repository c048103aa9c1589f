"""The scenario of a recording is TOML whatever the command was."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from swaplab.host.settings import Settings
from swaplab.host.starter import scenario_text
from swaplab.scenario.model import Machine, OwnTime, Zswap
from swaplab.scenario.trace import Stream, TraceInfo
from swaplab.text import shown

SETTINGS = Settings(Machine(memory=3 << 30, lru="mglru", page_cluster=3), Zswap(compressor="zstd"))
INFO = TraceInfo(7, [Stream("a:0", 3000, 7)])


def text_of(info: TraceInfo, command: list[str], sampled: int) -> str:
    return scenario_text(info, command, 3000, sampled, SETTINGS, "today", OwnTime(1_234_567_890, is_about=True))


def test_the_time_is_said_to_be_estimated() -> None:
    text = text_of(INFO, ["a"], 1)
    assert tomllib.loads(text)["workload"][0]["time"] == "about 1230ms"
    assert "all its memory: estimated" in text


def test_the_machine_is_as_it_was_set() -> None:
    table = tomllib.loads(text_of(INFO, ["a"], 1))
    assert table["machine"] == {"memory": "3G", "lru": "mglru", "page_cluster": 3, "swappiness": 60}
    assert (table["zswap"]["compressor"], table["zswap"]["shrinker_enabled"]) == ("zstd", False)


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_any_command_gives_toml(command: list[str]) -> None:
    table = tomllib.loads(text_of(INFO, command, 1))
    assert table["name"] == shown(command[0].rpartition("/")[2]), "a scenario has no control characters"


def test_three_quarters_of_the_pages_fit() -> None:
    table = tomllib.loads(text_of(INFO, ["a"], 1))
    assert table["cgroup"]["app"]["memory"]["max"] == "9000K"
    (workload,) = table["workload"]
    assert workload == {
        "name": "a",
        "cgroup": "app",
        "trace": "trace.parquet",
        "time": "about 1230ms",
        "content": {"profile": "content.parquet"},
    }


def test_of_many_streams_the_largest_are_shown() -> None:
    streams = [Stream(f"p:{number}", number + 1, 1) for number in range(30)]
    text = text_of(TraceInfo(30, streams), ["a"], 0)
    assert '"p:29": 30 pages' in text
    assert '"p:9"' not in text
    assert "and 10 smaller ones" in text
    assert tomllib.loads(text)["workload"][0]["content"] == "random"
