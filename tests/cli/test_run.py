"""`swaplab run` from end to end, on scenarios of a few hundred pages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from swaplab.cli import main
from swaplab.linux.release import BASE
from swaplab.result import SCHEMA, Result
from swaplab.result.counters import BY_NAME, EVENTS, LEVELS, MACHINE
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.model import BASELINES
from swaplab.scenario.trace import Stream, TraceWriter

SCENARIO = """
name = "tiny"
samples = 4
[machine]
memory = "4M"
[zswap]
enabled = true
[swap]
size = "4M"
[cgroup.a]
memory.max = "400K"
[[workload]]
name = "one"
cgroup = "a"
pages = 200
accesses = 3000
write_fraction = 0.5
content = { ratio = 3.0 }
"""
FROM_TRACE = (
    'cgroup.a.memory.max = "400K"\nworkload = [{ cgroup = "a", trace = "t.parquet", content = { ratio = 3.0 } }]'
)

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario's file, alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = Path("tiny.toml")
    path.write_text(SCENARIO)
    return path


def run(*arguments: object) -> int:
    """Exit status of ``swaplab run``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["swaplab", "run", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
    return int(stop.value.code or 0)


def counters(capsys: Shown, *arguments: object) -> list[dict[str, Any]]:
    assert run(*arguments, "--json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


# What it says ---------------------------------------------------------------------------------------------------------


def test_for_people(tiny: Path, capsys: Shown) -> None:
    assert run(tiny) == 0
    said = capsys.readouterr().out
    assert said.startswith("tiny: 3,000 accesses on 4M of memory, zswap with lzo")
    assert said.index("Memory at the end") < said.index("Faults along the way")
    assert "other configurations" not in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_policy_is_named_with_what_it_decided(tiny: Path, capsys: Shown) -> None:
    Path("refuse.py").write_text("def accept_store(entry, cgroup, pool):\n    return False\n")
    (found,) = counters(capsys, tiny, "--policy", "refuse.py")
    assert found["run"]["policy"]["file"] == "refuse.py"
    assert found["cgroups"]["a"]["zswpout"] == 0 < found["cgroups"]["a"]["pswpout"]
    assert run(tiny, "--policy", "refuse.py", "--compare") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "in which a policy that is not Linux's decides, refuse.py (sha256 " in said
    assert "time lost" in said.partition(" refuse.py - - - ")[0]
    assert " as it is " in said.partition(" refuse.py - - - ")[2]


@pytest.mark.parametrize("option", ["--on=kernel", "--kernels=6.12,7.2"])
def test_a_policy_does_not_go_with(option: str, tiny: Path, capsys: Shown) -> None:
    Path("p.py").write_text("raise ValueError")
    assert run(tiny, "--policy", "p.py", option) == 2
    assert "policy" in capsys.readouterr().err


def test_compared(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--compare") == 0
    said = capsys.readouterr().out
    names = [line.split("  ")[0] for line in said.partition("other configurations")[2].splitlines()]
    assert [name for name in names if name in ("as it is", *BASELINES)] == ["as it is", *BASELINES]
    assert "Without zswap the workloads lose" in said
    assert max(map(len, said.splitlines())) <= 80


def test_what_was_killed_is_said(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--set", "swap.size=0") == 0
    assert "Out of memory: 1 of the workloads killed (1 in a)." in capsys.readouterr().out


def test_names_mean_what_they_say(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--set", "name=[red]x[/red] :heart:") == 0
    assert capsys.readouterr().out.startswith("[red]x[/red] :heart:: 3,000 accesses")


def test_json_has_the_kernels_counters(tiny: Path, capsys: Shown) -> None:
    (one,) = counters(capsys, tiny)
    assert one["run"] == {
        "engine": "replay",
        "release": "6.12",
        "scenario": "tiny",
        "configuration": "",
        "accesses": 3000,
        "workload_accesses": {"a:one": 3000},
        "cost": DEFAULT_COST.source,
        "zram": False,
    }
    assert set(one["cgroups"]) == {"/", "a"}
    counted = {name for name in (*EVENTS, *LEVELS, *MACHINE) if BY_NAME[name].is_counted_by(BASE)}
    assert set(one["cgroups"]["a"]) == {"access", "time_ns", "cgroup"} | counted - {*MACHINE}
    assert set(one["cgroups"]["/"]) == set(one["cgroups"]["a"]) | counted & {*MACHINE}
    assert one["cgroups"]["a"]["zswpin"] > 0


def test_an_upgrade_is_told_in_a_table_and_sentences(tiny: Path, capsys: Shown) -> None:
    """No page compresses, and the device may have them: 7.2 keeps them, and kills."""
    changes = ("workload.0.content=random", "zswap.max_pool_percent=90")
    assert run(tiny, "--kernels", "6.12,7.2", *(text for each in changes for text in ("--set", each))) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "6.12" in told
    assert "7.2 kills a, within" in told
    assert "zswap keeps pages that do not compress" in told


def test_releases_that_do_the_same_are_said_to(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--kernels", "7.2,6.12", "--set", "workload.0.write_fraction=0", "--set", "swap.size=1G") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "6.12 differs from 7.2 by less than 2% in every number." in told


def test_json_of_several_releases(tiny: Path, capsys: Shown) -> None:
    assert [each["run"]["release"] for each in counters(capsys, tiny, "--kernels", "6.12,7.2")] == ["6.12", "7.2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernels", "7.2"], "--kernels: expected at least two of 6.12, 7.2, found '7.2'"),
        (["--kernels", "6.12,6.18"], "--kernels: expected at least two of 6.12, 7.2, found '6.12,6.18'"),
        (["--kernels", "6.12,7.2", "--compare"], "--kernels: expected no --compare beside it, found both"),
        (["--kernels", "6.12,7.2", "--on", "kernel"], "--kernels: expected no --on kernel beside it, found both"),
    ],
)
def test_releases_that_cannot_be_compared(tiny: Path, capsys: Shown, options: list[str], message: str) -> None:
    assert run(tiny, *options) == 2
    assert message in capsys.readouterr().err


def test_json_of_a_comparison(tiny: Path, capsys: Shown) -> None:
    compared = {each["run"]["configuration"]: each for each in counters(capsys, tiny, "--compare")}
    assert list(compared) == ["", *BASELINES]
    assert compared["off"]["cgroups"]["a"]["zswpout"] == 0
    assert compared["zram"]["run"]["zram"]


def test_the_same_bytes_twice(tiny: Path, capsys: Shown) -> None:
    shown, files = set(), set()
    for _ in range(2):
        run(tiny, "--json", "-o", "out.parquet")
        shown.add(capsys.readouterr().out)
        files.add(Path("out.parquet").read_bytes())
    assert len(shown) == len(files) == 1


def test_samples_are_written(tiny: Path, capsys: Shown) -> None:
    (one,) = counters(capsys, tiny, "-o", "out.parquet")
    result = Result.read(Path("out.parquet"))
    assert result.info.summary() == one["run"]
    assert result.samples.schema == SCHEMA
    assert result.series("a")["access"].to_pylist() == [750, 1500, 2250, 3000]
    assert {path or "/": result.final(path) for path in result.cgroups} == one["cgroups"]


# What it runs ---------------------------------------------------------------------------------------------------------


def test_keys_are_set(tiny: Path, capsys: Shown) -> None:
    (roomy,) = counters(capsys, tiny, "--set", "cgroup.a.memory.max=2M", "--set", "workload.0.accesses=500")
    assert roomy["run"]["accesses"] == 500
    assert roomy["cgroups"]["a"]["zswpout"] == 0


def test_a_baseline(tiny: Path, capsys: Shown) -> None:
    (off,) = counters(capsys, tiny, "--baseline", "off")
    assert off["run"]["configuration"] == "off"
    assert off["cgroups"]["a"]["pswpin"] > off["cgroups"]["a"]["zswpin"] == 0


def test_a_baseline_heads_the_comparison(tiny: Path, capsys: Shown) -> None:
    compared = counters(capsys, tiny, "--baseline", "zram", "--compare")
    assert sorted(each["run"]["configuration"] for each in compared) == sorted(BASELINES)
    assert compared[0]["run"]["configuration"] == "zram"


def test_costs_of_a_file(tiny: Path, capsys: Shown) -> None:
    slow = msgspec.structs.replace(DEFAULT_COST, source="a slow machine", fault_major_ns=10**6)
    Path("cost.toml").write_text(slow.to_toml())
    (fast,), (other,) = counters(capsys, tiny), counters(capsys, tiny, "--cost", "cost.toml")
    assert other["run"]["cost"] == "a slow machine"
    more = other["cgroups"]["a"]["fault_ns"] - fast["cgroups"]["a"]["fault_ns"]
    assert more == (10**6 - DEFAULT_COST.fault_major_ns) * fast["cgroups"]["a"]["pgmajfault"] > 0
    run(tiny, "--cost", "cost.toml")
    assert "Costs: a slow machine." in " ".join(capsys.readouterr().out.split())


def write_trace(directory: Path) -> None:
    pages = np.tile(np.arange(200, dtype=np.uint32), 3)
    with TraceWriter(directory / "t.parquet") as writer:
        writer.append(np.zeros(600, np.uint16), pages, np.ones(600, bool))
        writer.finish([Stream("made", 200)], source="a test")


def test_a_recording_is_a_directory(tmp_path: Path, capsys: Shown) -> None:
    recording = tmp_path / "rec"
    recording.mkdir()
    write_trace(recording)
    (recording / "scenario.toml").write_text(FROM_TRACE)
    by_directory, by_file = counters(capsys, recording), counters(capsys, recording / "scenario.toml")
    assert by_directory == by_file
    assert by_directory[0]["run"]["accesses"] == 600
    assert by_directory[0]["cgroups"]["a"]["pgmajfault"] > 0


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope.toml"], "No such file or directory: 'nope.toml'"),
        (["."], "found another directory"),
        (["tiny.toml", "--set", "zswap.compresor=lz4"], "tiny.toml: zswap: expected only the keys enabled"),
        (["tiny.toml", "--set", "zswap"], "--set: expected KEY=VALUE with a key as in the scenario file"),
        (["tiny.toml", "--set", "machine.nodes=2"], "nodes"),
        (["tiny.toml", "--set", "workload=[{trace='t.parquet'}]"], "workload[0].trace: expected a readable file"),
        (["tiny.toml", "--set", "workload=[{trace='tiny.toml'}]"], "tiny.toml: expected"),
        (["tiny.toml", "--set", "workload.0.content={file='x.bin'}"], "x.bin"),
        (["tiny.toml", "--cost", "nope.toml"], "No such file or directory: 'nope.toml'"),
        (["tiny.toml", "--cost", "tiny.toml"], "tiny.toml: expected the keys and values of a cost file"),
        (["tiny.toml", "--compare"], "-o: expected one run, so no --compare beside it, found both"),
        (
            ["tiny.toml", "--baseline", "off", "--set", "swap.device=zram", "--set", "zswap.enabled=false"],
            "expected a device for the baseline off",
        ),
        (["tiny.toml", "--set", "event=[{at=3001,cgroup='a',exit=true}]"], "event[0].at: expected at most 3000"),
    ],
    ids=lambda each: each[-1] if isinstance(each, list) else "",
)
def test_one_line_and_nothing_written(arguments: list[str], said: str, tiny: Path, capsys: Shown) -> None:
    assert run(*arguments, "-o", "out.parquet") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if "compiling the replay" not in line]
    assert line.startswith("swaplab: ")
    assert said in line
    assert [path.name for path in Path().iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize("output", ["nowhere/out.parquet", "", "/dev"])
def test_where_nothing_can_be_written_nothing_runs(
    output: str, tiny: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swaplab.cli.run.replay", lambda *arguments: pytest.fail("it runs"))
    assert run(tiny, "-o", output) == 2
    assert "-o: expected a file that can be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--baseline", "zswap"], '"global-lru"'), (["--sett", "a=1"], "--set?")]
)
def test_what_the_command_line_does_not_know(arguments: list[str], said: str, tiny: Path, capsys: Shown) -> None:
    assert run(tiny, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "Traceback" not in shown.err
