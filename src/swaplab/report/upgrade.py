"""The effect of another release of Linux on a workload: replays side by side, and sentences on the differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from swaplab.linux.release import features_of
from swaplab.report.parts import Part, Table
from swaplab.report.run import against, count_cell, heading, killed, size_cell, time_cell
from swaplab.result import Result
from swaplab.scenario.units import round_size

__all__ = ["upgrade_report"]

WORTH_A_WORD = 0.02
"""Of a counter: less is no difference to tell of."""
PAGES_MIN = 256


def upgrade_report(results: Sequence[Result]) -> list[Part]:
    """Return a report on one scenario, replayed as several releases, in their order."""
    sentences = [" ".join(_sentences(old, new)) for old, new in pairwise(results)]
    return [heading(*results), _table(results), *sentences]


def _table(results: Sequence[Result]) -> Table:
    """One row for each release: the machine's totals."""
    headings = [
        "Linux",
        "compressed",
        "to",
        "from\nmemory",
        "from\ndisk",
        "written\nback",
        "writes",
        "swap",
        "time\nlost",
    ]
    table = Table("The same accesses on other releases", headings)
    for result in results:
        row = result.final()
        table.add_row(
            result.info.release,
            size_cell(row.compressed_pages),
            size_cell(row.compressed_bytes),
            count_cell(row.compressed_faults),
            count_cell(row.disk_reads),
            count_cell(row["zswpwb"]),
            count_cell(row.disk_writes),
            size_cell(row["memory.swap.current"]),
            "killed" if row["memory.events.oom_kill"] else time_cell(row.time_lost),
        )
    return table


def _sentences(old: Result, new: Result) -> Iterator[str]:
    """Say what got better or worse, and by which change of Linux."""
    before, after = old.info.release, new.info.release
    told = [*_of_kills(old, new), *_of_incompressible(old, new), *_of_writeback(old, new), *_of_faults(old, new)]
    told += _of_slots(old, new)
    if told:
        yield from told
    else:
        yield f"{after} differs from {before} by less than {WORTH_A_WORD:.0%} in every number."


def _peak(result: Result, name: str, cgroup: str = "") -> int:
    values = [each for each in result.series(cgroup)[name].to_pylist() if each is not None]
    return max(values, default=0)


def _first_kill(result: Result, cgroup: str) -> int:
    """Accesses made when the first kill was seen."""
    series = result.series(cgroup)
    pairs = zip(series["access"].to_pylist(), series["memory.events.oom_kill"].to_pylist(), strict=True)
    return next(int(access) for access, kills in pairs if kills)


def _has_gained(old: Result, new: Result, feature: str) -> bool:
    """Whether a feature came with the newer release, or went with an older one."""
    had, has = (getattr(features_of(each.info.scenario.machine.kernel), feature) for each in (old, new))
    return bool(had != has)


def _of_kills(old: Result, new: Result) -> Iterator[str]:
    for path in new.cgroups[1:]:
        kills, before = (int(each.final(path)["memory.events.oom_kill"]) for each in (new, old))
        if kills > before and not any(other.startswith(f"{path}/") for other in new.cgroups):
            within = f"within {_first_kill(new, path):,} accesses"
            yield f"{new.info.release} kills {path}, {within}{_cause(old, new, path)}."
        elif before > kills:
            yield f"{new.info.release} does not kill {path}, as {old.info.release} does."


def _cause(old: Result, new: Result, cgroup: str) -> str:
    """Say why a cgroup is killed where pages that do not compress stay in zswap; what there is at a sample is known."""
    if not _has_gained(old, new, "incompressible_kept") or not old.final()["reject_compress_fail"]:
        return ""
    kept = _peak(new, "zswap_incomp", cgroup)
    seen = f", {round_size(kept)} of them" if kept else ""
    return (
        f": zswap keeps pages that do not compress{seen}, charged as they are, where {old.info.release} lets the "
        "device have them. A memory.zswap.max below what the cgroup can do without, or the shrinker "
        "(shrinker_enabled), sends them there"
    )


def _of_incompressible(old: Result, new: Result) -> Iterator[str]:
    kept = _peak(new, "zswap_incomp")
    if kept and not killed(new):
        yield (
            f"{new.info.release} keeps pages that do not compress in zswap, {round_size(kept)} of them, charged as "
            f"they are; {old.info.release} lets the device have them."
        )
    elif _peak(old, "zswap_incomp") and not killed(old):
        yield f"{new.info.release} lets the device have pages that do not compress; {old.info.release} keeps them."


def _changes(old: Result, new: Result, name: str) -> bool:
    before, after = int(old.final()[name]), int(new.final()[name])
    return abs(after - before) > max(PAGES_MIN, WORTH_A_WORD * before)


def _of_writeback(old: Result, new: Result) -> Iterator[str]:
    if not _changes(old, new, "zswpwb") or killed(old) or killed(new):
        return
    before, after = int(old.final()["zswpwb"]), int(new.final()["zswpwb"])
    scenario = new.info.scenario
    is_gen = scenario.machine.lru == "mglru" and _has_gained(old, new, "gen_scan_stops")
    why = ", as MGLRU of the newer one calls the shrinker with every step of a scan that grows" if is_gen else ""
    yield f"{new.info.release} writes {after:,} pages back, {old.info.release} {before:,}{why}."


def _of_faults(old: Result, new: Result) -> Iterator[str]:
    if not _changes(old, new, "pgmajfault") or killed(old) or killed(new):
        return
    before, after = int(old.final()["pgmajfault"]), int(new.final()["pgmajfault"])
    is_gen = new.info.scenario.machine.lru == "mglru" and _has_gained(old, new, "gen_by_use")
    why = ", as MGLRU of the newer one goes by how often a page was used" if is_gen else ""
    words = against(after, before) if before and after else "another number"
    yield f"Major faults: {after:,} on {new.info.release}, {before:,} on {old.info.release}, {words}{why}."


def _of_slots(old: Result, new: Result) -> Iterator[str]:
    before, after = (int(each.final()["memory.swap.current"]) for each in (old, new))
    kept = max(int(new.final()["swapcached"]), int(old.final()["swapcached"]))
    is_kept = _has_gained(old, new, "slot_kept_on_write") and kept and not (killed(old) or killed(new))
    if is_kept and abs(after - before) > max(PAGES_MIN << 12, WORTH_A_WORD * before):
        yield (
            f"memory.swap.current is {round_size(after)} on {new.info.release} and {round_size(before)} on "
            f"{old.info.release}: from 7.2 on, a page that is written to after it came back keeps its slot."
        )
