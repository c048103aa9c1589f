"""``swaplab record`` of what runs already: a real process, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swaplab.cli import app
from swaplab.errors import InputError
from swaplab.fleet.histograms import read_histograms
from swaplab.host.attach.samples import read_samples
from swaplab.scenario.load import load_scenario
from swaplab.scenario.reconstructed import reconstructed
from swaplab.scenario.trace import Trace

PAGES = 2000
TOUCHES = f"""
import mmap, time
memory = mmap.mmap(-1, {PAGES} * 4096)
memory[:] = bytes(len(memory))
print("ready", flush=True)
while True:
    for page in range({PAGES} // 2):
        memory[page * 4096] = 1
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def running() -> Iterator[int]:
    """A process that touches half of its memory again and again; its id."""
    with subprocess.Popen([sys.executable, "-c", TOUCHES], stdout=subprocess.PIPE) as process:  # noqa: S603 - own code
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


def run(*arguments: str) -> None:
    app(["record", *arguments], exit_on_error=False, result_action="return_value")


def test_half_of_the_memory_is_in_use(running: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run("--pid", str(running), "--duration", "8s", "-o", str(out), "--json")
    told = json.loads(capsys.readouterr().out)
    (program,) = told["programs"]
    hot, resident = program["working_set_pages"][-1], program["resident_pages"]
    assert resident > PAGES
    assert PAGES / 2 <= hot <= resident - PAGES / 2 + 64
    for path in out.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    attached = read_samples(out / "samples.parquet")
    assert len(attached.samples) == told["samples"]
    assert [life.pid for life in attached.lives] == [running]
    scenario = load_scenario(out / "scenario.toml")
    assert reconstructed(scenario) == {"trace.parquet": told["reconstructed"]}
    assert "all accesses are writes" in Trace.open(out / "trace.parquet").info.reconstructed
    with read_histograms(out / "histograms.parquet") as histograms:
        assert histograms.ages == [0, 1]
        assert sum(len(rows.time) for rows in histograms.rows) >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pid", "2", "--unit", "a"], "one of --pid PID.*found --pid and --unit"),
        (["--pid", str(2**22 + 1)], r"--pid 4194305: expected the id of another running process, found none"),
        (["--pid", str(os.getpid())], "the id of another running process"),
        (["--cgroup", "/there/is/none"], "a cgroup with processes in it, found none"),
        (["--unit", "there-is-none"], r"one cgroup there-is-none.service with processes in it, found none"),
        (["--pid", "1", "--duration", "ten"], "--duration: expected seconds, or a time with s, m or h"),
        (["--pid", "1", "--duration", "0.5"], "--duration: expected from 1 s to 30 days, found 0.5 s"),
        (["--pid", "1", "--window", "9"], "--window: expected a program to start"),
        (["--seed", "9", "--", "true"], "--seed: expected --pid"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments)


def test_what_is_idle_is_told_with_what_zswap_would_save_of_it(
    running: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swaplab.host.profile._timing", lambda pages: {})  # which takes seconds

    def profile(*arguments: str) -> None:
        app(["profile", "--pid", str(running), *arguments], exit_on_error=False, result_action="return_value")

    profile("--cold", "1s", "--samples", "30", "--json")
    told = json.loads(capsys.readouterr().out)
    group, total = told["idle"]
    assert PAGES / 2 - 64 <= group["idle_pages"] <= group["resident_pages"] - PAGES / 2 + 64
    saved = told["total"]["compressors"]["lzo"]["saved_bytes"]["value"]
    share = group["idle_pages"] / told["total"]["resident_pages"]
    assert group["saved_bytes"]["lzo"] == pytest.approx(share * saved, rel=0.01)
    assert total["idle_pages"] == group["idle_pages"]
    with pytest.raises(InputError, match="--cold: expected seconds"):
        profile("--cold", "soon")
