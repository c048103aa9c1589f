"""`swaplab run --on kernel`: its options, and what it shows. The kernel's part is played by the replay's numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow.compute as pc
import pytest

from swaplab.cli import main
from swaplab.replay import replay
from swaplab.result import Guest, Result
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.device import DEVICES
from swaplab.scenario.model import Scenario
from swaplab.vm import Kernel, Pace

SCENARIO = """
name = "tiny"
samples = 50
machine.memory = "4M"
zswap.enabled = true
swap.size = "4M"
[cgroup.a]
memory.max = "400K"
[cgroup.idle]
[[workload]]
cgroup = "a"
pages = 200
accesses = 3000
content = { ratio = 3.0 }
"""
GUEST = Guest(
    kernel="Linux version 6.12.117+deb12-amd64 (someone) #1 SMP",
    accelerator="tcg",
    ram=60 << 20,
    free=4 << 20,
    zswap_limit=819 << 10,
    footprint={"a": 0},
    seconds=5.0,
    checked=1,
    instruction_ns=1,
)
RELEASES = {"bzImage": "6.12.117+deb12-amd64", "newer": "6.18.0"}
PACE = Pace(cost=msgspec.structs.replace(DEFAULT_COST, source="a slow guest"), device=DEVICES["hdd"])
Shown = pytest.CaptureFixture[str]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scenario's file; kernels count a tenth more than the replay, and each of several 1 more than the one before."""

    def measured(
        scenarios: Sequence[Scenario], kernels: Sequence[Kernel], *_: object, seeds: Sequence[int]
    ) -> list[Result]:
        assert [*seeds] == [i % len({*seeds}) for i in range(len(scenarios))], "each kernel starts at the same times"
        runs = []
        for i, (scenario, kernel) in enumerate(zip(scenarios, kernels, strict=True)):
            result = replay(scenario)
            at = result.samples.schema.get_field_index("zswpout")
            counted = pc.add(pc.divide(pc.multiply(result.samples["zswpout"], 11), 10), i)
            samples = result.samples.set_column(at, "zswpout", counted)
            guest = msgspec.structs.replace(
                GUEST, kernel=f"Linux version {RELEASES[kernel.image.name]} (someone) #1 SMP"
            )
            info = msgspec.structs.replace(result.info, engine="kernel", release=guest.release, cost=None, guest=guest)
            runs.append(Result(info, samples))
        return runs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swaplab.cli.run.run_on_kernel", measured)
    monkeypatch.setattr("swaplab.cli.run.guest_pace", lambda *_: PACE)
    Path("tiny.toml").write_text(SCENARIO)
    for name in RELEASES:
        Path(name).write_bytes(bytes(0x202) + b"HdrS" + bytes(2000))
    return Path("tiny.toml")


def run(*arguments: object) -> int:
    """Exit status of ``swaplab run``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["swaplab", "run", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
    return int(stop.value.code or 0)


def rows(said: str, counter: str) -> list[list[str]]:
    return [line.split() for line in said.splitlines() if line.startswith(f"{counter} ")]


def test_a_kernel_alone(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--on", "kernel", "--kernel", "bzImage") == 0
    said = capsys.readouterr().out
    assert said.startswith("tiny: 3,000 accesses on 4M of memory, measured on Linux")
    assert "emulated at 1 ns an instruction" in said
    assert "replay" not in said
    assert "Over time" not in said
    assert [len(row) for row in rows(said, "zswpout")] == [2, 2], "the machine and a; nothing happened in idle"
    assert "\nidle" not in said


def test_both_side_by_side(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--on", "replay,kernel", "--kernel", "bzImage", "--repeat", "3") == 0
    said = capsys.readouterr().out
    for row in rows(said, "zswpout"):
        replayed, measured = (int(each.replace(",", "")) for each in row[1:3])
        assert measured == replayed * 11 // 10 + 1, "the median"
        assert row[3] == f"{replayed / measured - 1:+.1%}"
        assert row[4] == "2"
    assert {tuple(row[3:]) for row in rows(said, "pgfault")} == {("+0.0%", "0")}
    curves = said.partition("Over time")[2]
    assert "▇" in curves
    assert max(map(len, said.splitlines())) <= 80


def test_kernels_side_by_side(tiny: Path, capsys: Shown) -> None:
    arguments = ["--kernel", "bzImage", "--kernel", "newer", "--repeat", "2"]
    assert run(tiny, "--on", "replay,kernel", *arguments) == 0
    said = capsys.readouterr().out
    assert "measured on Linux 6.12.117+deb12-amd64 and Linux 6.18.0" in " ".join(said.split())
    headings = [line.split() for line in said.splitlines() if line.startswith("counter ")]
    assert headings == [["counter", "replay", "6.12.117", "spread", "6.18.0", "spread"]] * 3
    for row in rows(said, "zswpout"):
        replayed, first, second = (int(row[i].replace(",", "")) for i in (1, 2, 4))
        assert (first, second) == (replayed * 11 // 10, replayed * 11 // 10 + 2), "the lower of each two"
        assert [row[3], row[5]] == ["1", "1"]
    assert max(map(len, said.splitlines())) <= 80


def test_json_has_the_guest(tiny: Path, capsys: Shown) -> None:
    assert run(tiny, "--on", "replay,kernel", "--kernel", "bzImage", "--json") == 0
    replayed, measured = json.loads(capsys.readouterr().out)
    assert (replayed["run"]["engine"], measured["run"]["engine"]) == ("replay", "kernel")
    assert "guest" not in replayed
    assert measured["guest"] == msgspec.to_builtins(GUEST)


def test_the_replay_beside_a_kernel_runs_at_its_pace(tiny: Path, tmp_path: Path, capsys: Shown) -> None:
    """Unless other costs are asked for."""
    assert run(tiny, "--on", "replay,kernel", "--kernel", "bzImage") == 0
    assert "The replay has the costs of a slow guest." in " ".join(capsys.readouterr().out.split())
    (tmp_path / "cost.toml").write_text(msgspec.structs.replace(DEFAULT_COST, source="my machine").to_toml())
    assert run(tiny, "--on", "replay,kernel", "--kernel", "bzImage", "--cost", "cost.toml") == 0
    assert "The replay has the costs of my machine." in " ".join(capsys.readouterr().out.split())


def test_samples_are_written(tiny: Path) -> None:
    assert run(tiny, "--on", "kernel", "--kernel", "bzImage", "-o", "out.parquet") == 0
    info = Result.read(Path("out.parquet")).info
    assert (info.engine, info.release, info.guest) == ("kernel", GUEST.release, GUEST)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--on", "qemu"], "--on: expected replay, kernel or replay,kernel, found 'qemu'"),
        (["--on", "kernel,kernel"], "--on: expected"),
        (["--kernel", "bzImage"], "--kernel: expected --on kernel beside it"),
        (["--dry-run"], "--dry-run: expected --on kernel beside it"),
        (["--repeat", "2"], "--repeat: expected --on kernel beside it"),
        (["--on", "kernel", "--repeat", "0"], "--repeat: expected a number from 1 to 1000, found 0"),
        (["--on", "kernel", "--modules", "."], "--modules: expected the bzImage"),
        (
            ["--on", "kernel", *("--kernel", "bzImage") * 2, "--modules", "."],
            "--modules: expected the bzImage that they belong to, for each, found 2 for 1",
        ),
        (["--on", "kernel", *("--kernel", "bzImage") * 2, "-o", "x"], "-o: expected one run, so no second --kernel"),
        (["--on", "kernel", "--compare"], "--compare: expected --on replay"),
        (["--on", "replay,kernel", "-o", "x"], "-o: expected one run, so no second engine beside it"),
        (["--on", "kernel", "--repeat", "2", "-o", "x"], "-o: expected one run, so no --repeat beside it"),
        (["--on", "kernel", "--kernel", "tiny.toml"], "tiny.toml: expected a kernel image for x86"),
        (["--on", "kernel", "--kernel", "bzImage", "--modules", "."], ".: expected a directory with kernel modules"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_options_that_do_not_go_together(arguments: list[str], said: str, tiny: Path, capsys: Shown) -> None:
    assert run(tiny, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"swaplab: {said}" in shown.err


def test_a_dry_run_shows_the_command_line(
    tiny: Path, tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\nexit 1\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert run(tiny, "--on", "kernel", "--kernel", "bzImage", "--dry-run") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"env LD_PRELOAD=turns.so {qemu} ")
    assert " -kernel bzImage " in said
    assert said.count("\n") == 1
    assert run(tiny, "--on", "kernel", "--kernel", "bzImage", "--kernel", "newer", "--dry-run") == 0
    assert capsys.readouterr().out.count(" -kernel ") == 2
