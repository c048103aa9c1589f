"""The trace and the histograms of what was sampled: of whom, the same for the same seed, and not too long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.host.attach.fake_kernel import FakeKernel, FakeProcess

from swaplab.fleet.histograms import read_histograms
from swaplab.host.attach.history import history, whole_ages, write_histograms
from swaplab.host.attach.samples import Attached, read_samples, write_samples
from swaplab.host.attach.trace import sampled_lives, write_trace
from swaplab.host.attach.watch import watch
from swaplab.scenario.trace import EventKind, Trace

SECONDS = 64


@pytest.fixture(scope="module")
def attached() -> Attached:
    """Two processes that touch half and all of their pages evenly; the second ends before."""
    time = np.arange(SECONDS * 100) / 100
    page: NDArray[np.int64] = np.arange(len(time), dtype=np.int64)
    processes = {5: FakeProcess(time, page % 50, 100), 6: FakeProcess(time, page % 400, 400, end=40.0)}
    kernel = FakeKernel(processes)
    return watch(kernel.choose, SECONDS, kernel).attached


def make(path: Path, attached: Attached, seed: int = 0, accesses_max: int = 1 << 20) -> Trace:
    write_trace(path, attached, sampled_lives(attached), seed=seed, source="made up", accesses_max=accesses_max)
    return Trace.open(path)


def test_it_is_of_those_who_were_there(attached: Attached, tmp_path: Path) -> None:
    trace = make(tmp_path / "a", attached)
    assert [(each.name, each.pages) for each in trace.info.streams] == [("app:0", 100), ("app:1", 400)]
    assert trace.info.reconstructed.startswith(f"from {len(attached.samples):,} samples over 64 s (made up), seed 0")
    chunks = list(trace.chunks())
    events = np.concatenate([chunk.events for chunk in chunks])
    assert [(event["event"], event["stream"]) for event in events] == [(EventKind.EXIT, 1)]
    assert events["at"][0] == pytest.approx(500 + 40 * 200, rel=0.1)
    # Each page of both once at the start, then 100 a second: of the first for 64 s, of the second until it ends.
    counts = [each.accesses for each in trace.info.streams]
    assert counts == pytest.approx([100 + 6400, 400 + 4000], rel=0.1)


def test_the_same_samples_and_seed_give_the_same_bytes(attached: Attached, tmp_path: Path) -> None:
    write_samples(tmp_path / "samples", attached)
    make(tmp_path / "a", attached)
    make(tmp_path / "b", read_samples(tmp_path / "samples"))
    make(tmp_path / "c", attached, seed=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_it_is_not_longer_than_it_may_be_and_says_what_that_hides(attached: Attached, tmp_path: Path) -> None:
    trace = make(tmp_path / "a", attached, accesses_max=4000)
    assert trace.info.accesses < 4000 + 500
    assert "MB of memory it says nothing" in trace.info.reconstructed
    assert "says nothing" not in make(tmp_path / "b", attached).info.reconstructed


def test_fleet_reads_how_it_went(attached: Attached, tmp_path: Path) -> None:
    lives, age = sampled_lives(attached), whole_ages(SECONDS)
    parts = history(lives, SECONDS, age)
    write_histograms(tmp_path / "h", parts, age, "here", 1000.0)
    with read_histograms(tmp_path / "h") as histograms:
        assert histograms.ages == [0, *age]
        (rows,) = histograms.rows
    assert rows.job == ["/app"] * len(rows.time)
    assert rows.time[-1] == 1000 + SECONDS
    # At first both are there, at the end only the first one.
    assert rows.cold[1].sum() == pytest.approx(500, abs=2)
    assert rows.cold[-1].sum() == pytest.approx(100, abs=2)
    # The first one's fifty hot pages come back every half second; the second one's pages every four seconds.
    assert rows.cold[-1][0] == pytest.approx(50, abs=2)
    assert rows.cold[1][0] == pytest.approx(150, abs=10)
    back = rows.promotions[1].sum() / (rows.time[1] - rows.time[0])
    assert back == pytest.approx(100, rel=0.3)
