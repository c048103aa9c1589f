"""The answer of ``swaplab run`` as tables and sentences for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from swaplab.report.charts import charts
from swaplab.report.parts import Part, Table
from swaplab.result import Result, Row
from swaplab.scenario.model import OwnTime
from swaplab.scenario.units import round_size, short_size

__all__ = [
    "against",
    "comparison",
    "comparison_table",
    "count_cell",
    "duration",
    "fault_table",
    "heading",
    "killed",
    "memory_table",
    "reconstructed_from",
    "run_report",
    "size_cell",
    "slowdown",
    "time_cell",
]

OWN = "as it is"
NOTHING = "-"
BASES_MAX = 4
RECONSTRUCTED_MAX = 2
CGROUPS_MAX = 200  # rows of a table for people
ABOUT = 0.05  # of a reference: no difference worth a word


def duration(nanoseconds: float) -> str:
    """A time for a reader, to three digits or so: ``1.25 s``, ``830 ms``."""
    for unit, size in (("h", 3600e9), ("min", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            value = nanoseconds / size
            return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"
    return f"{nanoseconds:.0f} ns"


def slowdown(share: float | None, killed: bool = False) -> str:
    """How much longer something takes, for a reader: ``12%``, ``0.3%``, or why that is not known."""
    if share is None or killed:
        return "killed" if killed else NOTHING
    percent = 100 * share
    return f"{percent:,.0f}%" if percent >= 10 else f"{percent:.2g}%"


def _base(result: Result) -> str:
    """Say what slowdowns are shares of, and what is not in them; empty where there are none."""
    times = {path: time for path, time in result.info.own_times.items() if path} or result.info.own_times
    if not times:
        return ""
    shown = [f"{path or 'the machine'} {_own_time(time)}" for path, time in [*times.items()][:BASES_MAX]]
    more = f" and {len(times) - BASES_MAX:,} more" if len(times) > BASES_MAX else ""
    return (
        "Slowdown is time lost over the processor time of the workloads with all their memory "
        f"({', '.join(shown)}{more}). Not in it: files that are read again, waiting for a processor, and what other "
        "threads do meanwhile."
    )


def _own_time(time: OwnTime) -> str:
    return f"{'about ' if time.is_about else ''}{duration(time.ns)}"


def heading(result: Result, *others: Result) -> str:
    """One paragraph: what ran on what, and whose costs moved the clock; of others, on which releases of Linux."""
    info, scenario = result.info, result.info.scenario
    zswap, swap = scenario.zswap, scenario.swap
    if info.zram:
        kind = f"zram with {zswap.compressor}"
    elif zswap.enabled:
        shrinker = "on" if zswap.shrinker_enabled else "off"
        lru = ", one LRU for all" if zswap.lru == "global" else ""
        kind = f"zswap with {zswap.compressor}, pool up to {zswap.max_pool_percent}%, shrinker {shrinker}{lru}"
    else:
        kind = "no zswap"
    source = _printable(info.cost.source) if info.cost else ""
    releases = " and ".join(dict.fromkeys(each.info.release for each in (result, *others)))
    unreleased = ", ".join(dict.fromkeys(name for each in (result, *others) for name in each.info.scenario.unreleased))
    proposed = f" with what is of no release ({unreleased})" if unreleased else ""
    policy = f" in which a policy that is not Linux's decides, {_printable(str(info.policy))}" if info.policy else ""
    return (
        f"{scenario.name or 'scenario'}: {info.accesses:,} accesses on {short_size(scenario.machine.memory)} "
        f"of memory, {kind}, {short_size(swap.size)} of swap. "
        f"Replayed by a model of Linux {releases}{proposed}{policy}, not measured on one. "
        f"Costs: {source or 'their file does not say where they were measured'}."
        f"{reconstructed_from(info.reconstructed)}"
    )


def reconstructed_from(traces: Mapping[str, str]) -> str:
    """Say of traces that no access of them was seen, after a sentence; empty where there are none."""
    said = [f" {_printable(name)} is reconstructed {_printable(text)}." for name, text in traces.items()]
    return "".join(said[:RECONSTRUCTED_MAX]) + (" So are others." if len(said) > RECONSTRUCTED_MAX else "")


def run_report(results: Sequence[Result]) -> list[Part]:
    """Report the first of some replays, and compare others of the same accesses with it."""
    own = results[0]
    parts: list[Part] = [heading(own), memory_table(own), fault_table(own)]
    parts += [sentence for sentence in (_base(own), killed(own)) if sentence]
    parts += [comparison_table(results), comparison(results)] if len(results) > 1 else []
    return [*parts, *charts([own])]


def _printable(text: str) -> str:
    """The text without what a terminal would obey: a cost file may come from anywhere."""
    return "".join(each if each.isprintable() else "?" for each in text)


def count_cell(value: int) -> str:
    """A number of times or pages, or that there is none."""
    return f"{value:,}" if value else NOTHING


def size_cell(value: int) -> str:
    """A size, or that there is nothing."""
    return round_size(value) if value else NOTHING


def time_cell(value: int) -> str:
    """A time, or that it is none."""
    return duration(value) if value else NOTHING


def _cgroup_rows(table: Table, result: Result, cells: Callable[[str, Row], Iterable[str]]) -> Table:
    """Add a row for each cgroup, or for the largest of many, and the machine's apart."""
    paths = result.cgroups[1:]
    largest = set(sorted(paths, key=lambda path: -result.final(path).held)[:CGROUPS_MAX])
    for path in paths:
        if path in largest:
            table.add_row(path, *cells(path, result.final(path)))
    if len(paths) > CGROUPS_MAX:
        table.add_row(f"{len(paths) - CGROUPS_MAX:,} more in --json")
    table.add_section()
    table.add_row("machine", *cells("", result.final()))
    return table


def memory_table(result: Result) -> Table:
    """One row for each cgroup: where its memory is at the end."""

    def cells(path: str, row: Row) -> Iterable[str]:
        limit = result.info.scenario.cgroups[path].memory_max if path else None
        yield NOTHING if limit is None else short_size(limit)
        yield size_cell(row["anon"])
        yield size_cell(row.compressed_pages)
        yield size_cell(row.compressed_bytes)
        yield size_cell(row.compressed_pages - row.compressed_bytes)

    headings = ["cgroup", "memory.max", "resident", "compressed", "to", "saved"]
    return _cgroup_rows(Table("Memory at the end", headings), result, cells)


def fault_table(result: Result) -> Table:
    """One row for each cgroup: what its faults cost along the way."""
    own_times = result.info.own_times

    def cells(path: str, row: Row) -> Iterable[str]:
        yield count_cell(row.compressed_faults)
        yield count_cell(row.disk_reads)
        yield count_cell(row["zswpwb"])
        yield count_cell(row.disk_writes)
        yield time_cell(row.time_lost)
        if own_times:
            yield slowdown(result.slowdown(path), killed=bool(row["memory.events.oom_kill"]))

    headings = ["cgroup", "from memory", "from disk", "written back", "writes", "time lost"]
    headings += ["slowdown"] if own_times else []
    return _cgroup_rows(Table("Faults along the way, from compressed memory and from disk", headings), result, cells)


def comparison_table(results: Sequence[Result]) -> Table:
    """One row for each configuration: the machine's totals; no time where a workload was killed and so did less."""
    headings = ["baseline", "compressed", "to", "from memory", "from disk", "writes", "time lost"]
    table = Table("The same accesses under other configurations", headings)
    for result in results:
        row = result.final()
        table.add_row(
            result.info.configuration or OWN,
            size_cell(row.compressed_pages),
            size_cell(row.compressed_bytes),
            count_cell(row.compressed_faults),
            count_cell(row.disk_reads),
            count_cell(row.disk_writes),
            "killed" if row["memory.events.oom_kill"] else time_cell(row.time_lost),
        )
    return table


def killed(result: Result) -> str:
    """A sentence on workloads that were killed, empty if none was."""
    kills = {path: result.final(path)["memory.events.oom_kill"] for path in result.cgroups if path}
    names = ", ".join(f"{kills[path]} in {path}" for path in kills if kills[path])
    total = result.final()["memory.events.oom_kill"]
    return f"Out of memory: {total} of the workloads killed ({names or 'in the root'})." if total else ""


def _lost(result: Result, cgroup: str = "") -> int:
    return result.final(cgroup).time_lost


def _time_lost(lost: int) -> str:
    return duration(lost) if lost else "nothing"


def against(lost: int, reference: int) -> str:
    """How much less or more than a reference, neither of them 0, in words that "than" or "as" may follow."""
    if abs(lost - reference) <= ABOUT * reference:
        return "about as much"
    factor = max(lost, reference) / min(lost, reference)
    times = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"
    if factor >= 2:
        return f"{times} times as much" if lost > reference else f"{times} times less"
    return f"{abs(lost / reference - 1):.0%} {'more' if lost > reference else 'less'}"


def _zswap_sentences(by_name: dict[str, Result]) -> Iterable[str]:
    """No zswap against its best settings; of settings that are as good, those of today."""
    zswap = [by_name[name] for name in ("memcg", "shrinker", "no-writeback", "global-lru") if name in by_name]
    if not zswap:
        return
    best = min(zswap, key=_lost)
    at_best, off = f"at best ({best.info.configuration})", by_name.get("off")
    if off is None:
        yield f"With zswap, {at_best}, the workloads lose {_time_lost(_lost(best))}."
        return
    compared = f", {against(_lost(best), _lost(off))}" if _lost(best) and _lost(off) else ""
    yield (
        f"Without zswap the workloads lose {_time_lost(_lost(off))}; with it, {at_best}, "
        f"{_time_lost(_lost(best))}{compared}."
    )
    per_cgroup = [
        f"{path} {_time_lost(_lost(off, path))} and {_time_lost(_lost(best, path))}"
        for path in best.cgroups
        if path and (_lost(off, path) or _lost(best, path))
    ]
    if len(per_cgroup) > 1:
        yield f"By cgroup: {'; '.join(per_cgroup)}."


def _pair_sentences(by_name: dict[str, Result]) -> Iterable[str]:
    """Compare each newer kind of zswap with the one before it."""
    for name, before in (("memcg", "global-lru"), ("shrinker", "memcg")):
        if name in by_name and before in by_name:
            new, old = by_name[name], by_name[before]
            yield f"{_pair(name, _lost(new), before, _lost(old))}{_written_back(new, before, old)}."


def _pair(name: str, new: int, before: str, old: int) -> str:
    if new == old:
        return f"{name} loses {'as much as' if new else 'nothing, like'} {before}"
    if not new or not old:
        return f"{name} loses {_time_lost(new)} where {before} loses {_time_lost(old)}"
    words = against(new, old)
    return f"{name} loses {words} {'as' if words.endswith('as much') else 'than'} {before}"


def _written_back(new: Result, before: str, old: Result) -> str:
    """A clause on pages written back, empty where both wrote back as many."""
    written, reference = new.final()["zswpwb"], old.final()["zswpwb"]
    if written == reference:
        return ""
    pages = f"{written:,} page{'' if written == 1 else 's'}" if written else "no page"
    return f", and writes {pages} back where {before} writes {f'{reference:,}' if reference else 'none'}"


def _zram_sentences(by_name: dict[str, Result]) -> Iterable[str]:
    if "zram" in by_name:
        row = by_name["zram"].final()
        memory = round_size(row.compressed_bytes)
        held = (
            f", but no cgroup is charged for the {memory} of memory that it ends with" if row.compressed_bytes else ""
        )
        yield f"zram loses {_time_lost(row.time_lost)}{held}."


def comparison(results: Sequence[Result]) -> str:
    """Compare the baselines in plain sentences; where a workload was killed, there is no time."""
    by_name = {each.info.configuration: each for each in results if not each.final()["memory.events.oom_kill"]}
    dead = ", ".join(each.info.configuration or OWN for each in results if each.info.configuration not in by_name)
    sentences = [f"Workloads were killed, for lack of memory or swap, under: {dead}."] if dead else []
    if by_name and not any(map(_lost, by_name.values())):
        return " ".join(
            [*sentences, f"The workloads lose no time under {'any' if not dead else 'any other'} of these."]
        )
    sentences += [*_zswap_sentences(by_name), *_pair_sentences(by_name), *_zram_sentences(by_name)]
    return " ".join(sentences)
