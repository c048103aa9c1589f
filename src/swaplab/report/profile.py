"""The answer of ``swaplab profile`` as tables and sentences for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from swaplab.host.draw import Unreadable
from swaplab.host.estimate import Estimate
from swaplab.host.profile import PARTIAL_BYTES_MAX, CgroupProfile, Profile
from swaplab.linux.page import PAGE_SIZE
from swaplab.report.parts import Part, Table
from swaplab.scenario.units import round_size
from swaplab.text import shown

__all__ = ["profile_report"]

NAMED_MAX = 8
SHOWN = ("lzo", "zstd")  # of a cgroup: the kernel's default, and what distributions change it to


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _size(pages: int) -> str:
    return round_size(pages * PAGE_SIZE)


def profile_report(profile: Profile) -> list[Part]:
    """All that it says."""
    idle = [_idle_table(profile)] if profile.idle else []
    return [_cgroup_table(profile), *idle, _compressor_table(profile), "\n".join(_notes(profile))]


def _idle_table(profile: Profile) -> Table:
    """One row for each cgroup, the idlest first: how much is idle, and what zswap would save of it."""
    longest = profile.idle[-1].seconds
    table = Table(
        f"Memory that was not used for {longest:,.0f} s, and what zswap would save of that",
        ["cgroup", "idle", "of resident", *SHOWN],
    )
    *groups, total = profile.idle
    groups = sorted(groups, key=lambda each: (-each.idle_pages, each.cgroup))
    for each in [*groups, total] if len(groups) > 1 else groups:
        saved = [round_size(each.saved_bytes[name]) for name in SHOWN]
        share = _share(each.idle_pages, each.resident_pages)
        table.add_row(shown(each.cgroup), _size(each.idle_pages), share, *saved)
    return table


def _cgroup_table(profile: Profile) -> Table:
    """One row for each cgroup, the largest first: its anonymous memory and what zswap would save of it."""
    headings = ["cgroup", "processes", "resident", "in swap", "zero", *SHOWN]
    table = Table("Anonymous memory, and the share of it that zswap would save", headings)
    groups = sorted(profile.cgroups, key=lambda group: (-group.resident_pages, group.cgroup))
    for group in groups:
        table.add_row(*_cgroup_row(group))
    if len(groups) > 1:
        table.add_section()
        table.add_row(*_cgroup_row(profile.total))
    return table


def _cgroup_row(group: CgroupProfile) -> Iterator[str]:
    yield shown(group.cgroup)
    yield f"{group.processes:,}"
    yield _size(group.resident_pages)
    yield _size(group.swapped_pages)
    yield _share(group.zero_pages.value, group.resident_pages)
    for name in SHOWN:
        yield _share(group.compressors[name].saved_bytes.value, group.resident_pages * PAGE_SIZE)


def _compressor_table(profile: Profile) -> Table:
    """One row for each compressor: what all the memory becomes, with 95 % intervals."""
    headings = [
        "compressor",
        "pool",
        "saved",
        "95 %",
        "ratio",
        "p5",
        "p50",
        "p95",
        "whole",
        "refused",
        "in",
        "out",
    ]
    table = Table("All of it in zswap at once", headings)
    for name in profile.total.compressors:
        table.add_row(*_compressor_row(profile, name))
    return table


def _compressor_row(profile: Profile, name: str) -> Iterator[str]:
    compressor, pages = profile.total.compressors[name], profile.total.resident_pages
    timing = profile.timing.get(name)
    saved = compressor.saved_bytes
    yield name
    yield round_size(compressor.pool_bytes)
    yield round_size(saved.value)
    yield f"{round_size(saved.low)}..{round_size(saved.high)}"
    yield f"{compressor.ratio:.2f}" if compressor.ratio else "-"
    for percentile in ("p5", "p50", "p95"):
        yield str(compressor.length_percentiles.get(percentile, "-"))
    yield _share(compressor.whole_pages.value, pages)
    yield _share(compressor.refused_pages.value, pages)
    yield f"{timing.compress_us:.0f}" if timing else "-"
    yield f"{timing.decompress_us:.0f}" if timing else "-"


def _notes(profile: Profile) -> Iterator[str]:
    """Say what the tables do not show: other kinds of pages, and processes that are missing."""
    total = profile.total
    yield "p5 to p95: compressed lengths; in, out: microseconds to compress and decompress a page, measured"
    yield f"pool: of full zspages; others add at most {round_size(PARTIAL_BYTES_MAX)}, however large it is"
    yield "whole: pages that take a whole page of the pool; refused: pages that become longer than a page"
    yield f"pages resident: {total.resident_pages:,}, a shared one once; sampled: {total.sampled_pages:,}"
    yield f"zero pages, kept as a bit and not in zswap: {_interval(total.zero_pages)}"
    yield f"other same-filled pages, compressed like any: {_interval(total.same_filled_pages)}"
    if profile.idle:
        yield "idle: how much is known, not which pages; they are taken to compress as anonymous ones do"
    if total.shared_pages:
        yield f"left out: {_size(total.shared_pages)} of shared memory and tmpfs, which Linux swaps to zswap as well"
    if total.locked_pages:
        yield f"left out: {_size(total.locked_pages)} that is mlocked"
    if total.lost_pages:
        yield f"left out: {total.lost_pages:,} pages that went away before they were read"
    if profile.without_memory:
        yield f"left out: {profile.without_memory:,} kernel threads and zombies, which have no memory"
    unreadable = sorted(profile.unreadable, key=lambda process: (process.reason, process.pid))
    for reason, processes in groupby(unreadable, key=lambda process: process.reason):
        yield f"NOT READ, {reason}: {_named(list(processes))}"


def _interval(pages: Estimate) -> str:
    return f"{pages.value:,} ({pages.low:,} to {pages.high:,})"


def _named(processes: list[Unreadable]) -> str:
    names = ", ".join(f"{process.name} ({process.pid})" for process in processes[:NAMED_MAX])
    more = len(processes) - NAMED_MAX
    return f"{len(processes):,} processes: {names}" + (f" and {more:,} more, in --json" if more > 0 else "")
