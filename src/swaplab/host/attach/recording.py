"""``swaplab record`` of what runs already: the directory that it makes, and what it says of it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from swaplab.errors import InputError
from swaplab.files import check_new_directory, write_whole, write_whole_directory
from swaplab.host.attach.history import Part, history, whole_ages, write_histograms
from swaplab.host.attach.methods import best_method
from swaplab.host.attach.samples import Attached, write_samples
from swaplab.host.attach.trace import Sampled, sampled_lives, write_trace
from swaplab.host.attach.watch import SECONDS_MAX, Watched, watch
from swaplab.host.draw import draw
from swaplab.host.estimate import Stratum
from swaplab.host.processes import PROC, Process
from swaplab.host.profile import Pages, write_pages
from swaplab.host.settings import machine_settings
from swaplab.host.starter import scenario_text
from swaplab.process import holding_signals
from swaplab.scenario.model import OwnTime
from swaplab.scenario.trace import TraceInfo

__all__ = ["AttachedRecording", "Group", "Program", "attach"]

SECONDS_MIN: Final = 1.0


class Program(msgspec.Struct, frozen=True):
    """A program in a process.

    Attributes:
        stream: its name in the trace.
        pid: of the process.
        cgroup: path.
        start: seconds from the beginning of the recording.
        end: likewise; None if it ran on.
        resident_pages: of memory that can be swapped, in the mean, shared ones in part.
        swapped_pages: likewise, in swap.
        window_seconds: times T, ascending.
        working_set_pages: touched within each, in the mean.
    """

    stream: str
    pid: int
    cgroup: str
    start: float
    end: float | None
    resident_pages: float
    swapped_pages: float
    window_seconds: list[float]
    working_set_pages: list[float]


class Group(msgspec.Struct, frozen=True):
    """A cgroup, in a part of the recording.

    Attributes:
        cgroup: path.
        start: seconds from the beginning of the recording.
        end: likewise.
        swapped_pages: in swap.
        cold_pages: resident pages by age: up to the first of `AttachedRecording.ages`, up to the second, ...
        promotions: pages a second that were touched when they had been cold for at least each age.
    """

    cgroup: str
    start: float
    end: float
    swapped_pages: float
    cold_pages: list[float]
    promotions: list[float]


class AttachedRecording(msgspec.Struct, frozen=True):
    """What was recorded.

    Attributes:
        directory: where it is.
        target: what was attached to.
        method: how pages were found to be used.
        seconds: how long it was.
        ended_by: what ended it.
        samples: looks at a process.
        cost_share: processor time that looking took, of one processor's.
        huge_share: of the memory that is in huge pages, which count as used as a whole.
        unreadable: processes that could not be looked at.
        reconstructed: what the trace is made from, and what it does not say.
        accesses: of the trace.
        sampled_pages: whose contents are known.
        ages: seconds.
        programs: in order of their start.
        cgroups: along time.
    """

    directory: str
    target: str
    method: str
    seconds: float
    ended_by: str
    samples: int
    cost_share: float
    huge_share: float
    unreadable: list[str]
    reconstructed: str
    accesses: int
    sampled_pages: int
    ages: list[int]
    programs: list[Program]
    cgroups: list[Group]


def attach(
    target: str,
    choose: Callable[[], Sequence[Process]],
    out: Path,
    *,
    seconds: float,
    seed: int = 0,
    sample_pages: int,
    told: Callable[[float, int], None] = lambda seconds, samples: None,
    writing: Callable[[int, int], None] = lambda done, total: None,
) -> AttachedRecording:
    """Look at processes for a while, and write what they do to the new directory `out`.

    Signals that would end us end the recording; what was sampled until then is kept.

    Args:
        target: what is attached to, for people.
        choose: which processes that is; asked again and again.
        out: directory to make, whole or not at all.
        seconds: how long.
        seed: of what is drawn: contents, and the trace.
        sample_pages: pages whose contents to keep, at most.
        told: seconds and samples so far.
        writing: what of the trace is written, and how much there is.

    Raises:
        InputError: there is nothing to be looked at, or nothing that may be.
        OSError: `out` exists, or cannot be written.
    """
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise InputError("--duration", f"from {SECONDS_MIN:g} s to 30 days", f"{seconds:g} s")
    check_new_directory(out)
    with write_whole_directory(out) as partial, holding_signals():
        pages = _contents(choose(), sample_pages, seed)
        began = time.time()
        watched = watch(choose, seconds, best_method(), told)
        lives = sampled_lives(watched.attached)
        info = write_trace(
            partial / "trace.parquet",
            watched.attached,
            lives,
            seed=seed,
            source=f"swaplab record, attached to {target}",
            told=writing,
        )
        write_samples(partial / "samples.parquet", watched.attached)
        age = whole_ages(watched.attached.seconds)
        parts = history(lives, watched.attached.seconds, age)
        if age:
            write_histograms(partial / "histograms.parquet", parts, age, platform.node() or "here", began)
        if len(pages.weights):
            write_pages(partial / "content.parquet", [pages], f"processes of {target}")
        with write_whole(partial / "scenario.toml", 0o600) as file:
            text = _scenario(target, watched.attached, lives, info, len(pages.weights))
            file.write_text(text, encoding="utf-8")
    return _told(target, out, watched, lives, parts, age, info, len(pages.weights))


def _contents(processes: Sequence[Process], count: int, seed: int) -> Pages:
    """Read some pages, before anything is cleared: reading marks them as used, and who has ended has none."""
    alive = [process for process in processes if process.has_memory]
    sample = draw(alive, count, np.random.default_rng(seed), PROC, lambda: None)
    if not len(sample.weights):
        return Pages(sample.pages, sample.weights)
    stratum = Stratum(sample.weights, sample.population, sample.fraction)
    return Pages(sample.pages, stratum.expansion())


def _scenario(target: str, attached: Attached, lives: Sequence[Sampled], info: TraceInfo, sampled: int) -> str:
    when = f"{datetime.now(UTC):%Y-%m-%d} on Linux {platform.release()}, for {attached.seconds:.0f} s from outside."
    took = sum(each.life.processor for each in lives)
    most = sum(stream.pages for stream in info.streams)
    own = OwnTime(max(1, round(took * 1e9)))
    return scenario_text(info, [target], most, sampled, machine_settings(), when, own)


def _told(
    target: str,
    out: Path,
    watched: Watched,
    lives: Sequence[Sampled],
    parts: Sequence[Part],
    age: list[int],
    info: TraceInfo,
    sampled: int,
) -> AttachedRecording:
    attached = watched.attached
    return AttachedRecording(
        directory=str(out),
        target=target,
        method=attached.method,
        seconds=attached.seconds,
        ended_by=watched.ended_by,
        samples=len(attached.samples),
        cost_share=attached.cost / max(attached.seconds, 1e-9),
        huge_share=watched.huge,
        unreadable=list(watched.unreadable),
        reconstructed=info.reconstructed,
        accesses=info.accesses,
        sampled_pages=sampled,
        ages=age,
        programs=[_program(each, stream.name) for each, stream in zip(lives, info.streams, strict=True)],
        cgroups=[_group(part) for part in parts],
    )


def _program(each: Sampled, stream: str) -> Program:
    life, curve = each.life, each.curve
    return Program(
        stream,
        life.pid,
        life.cgroup,
        life.start,
        life.end,
        curve.resident,
        curve.swapped,
        curve.window.tolist(),
        curve.pages.tolist(),
    )


def _group(part: Part) -> Group:
    return Group(part.cgroup, part.start, part.time, part.swapped, part.cold.tolist(), part.promotions.tolist())
