"""Conclusions from the counters: each rule looks at the facts and says one thing, with its arithmetic, or nothing.

The counters mean what they mean in Linux 6.12 (mm/zswap.c, mm/memcontrol.c, Documentation/admin-guide/cgroup-v2.rst);
where 7.x differs, the rule says so. Since 6.8 a page that comes back leaves zswap at once, so what is in the swap
cache is in memory and has a swap slot, but is not in zswap as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from swaplab.doctor.facts import Facts, Reading, Snapshot, joined
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.units import round_size

__all__ = ["Finding", "compression", "diagnose", "stored"]

MIB: Final = 1 << 20
NEARLY: Final = 0.95  # of a limit: it is what holds
IN_USE: Final = "swap in use"
SHARED: Final = (
    *("pool_limit_hit", "shrinker_enabled", "max_pool_percent", "compressor", "enabled", "swappiness"),
    *("reject_compress_fail", "reject_compress_poor"),
)
"""Facts of the machine that explain a cgroup's."""
FAILURES: Final = {
    "reject_alloc_fail": "no memory for the compressed page",
    "reject_kmemcache_fail": "no memory for the entry",
    "reject_reclaim_fail": "writeback was tried and freed nothing",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that the counters say.

    Attributes:
        name: of the rule.
        kind: ``answer`` explains a number; ``problem`` is something to change.
        title: what was found.
        evidence: the counters and the arithmetic that it follows from.
        consequence: what it means for the workloads.
        setting: what changes it; empty for an answer.
        cgroup: that it is about; None for the machine, or for a pasted report.
    """

    name: str
    kind: Literal["answer", "problem"]
    title: str
    evidence: list[str]
    consequence: str
    setting: str = ""
    cgroup: str | None = None


Rule = Callable[[Facts], Iterator[Finding]]


def diagnose(snapshot: Snapshot) -> list[Finding]:
    """Return all that the rules find: of the machine first, then of the cgroups that swap, most swap first."""
    machine = _with_areas(snapshot)
    found = [each for rule in (*_ANY, *_MACHINE) for each in rule(machine)]
    found += [each for rule in _AREAS for each in rule(snapshot, machine)]
    shared = {name: machine.readings[name] for name in SHARED if name in machine}
    for path, own in sorted(snapshot.cgroups.items(), key=lambda each: (-_swapped(each[1]), each[0])):
        if path and _swapped(own):
            facts = joined(own, shared)
            found += [msgspec.structs.replace(each, cgroup=path) for rule in _ANY for each in rule(facts)]
    return found


def _with_areas(snapshot: Snapshot) -> Facts:
    """Return the machine's facts, and how much its swap areas hold together."""
    readings = dict(snapshot.machine.readings)
    if snapshot.areas:
        used, error = sum(area.used for area in snapshot.areas), sum(area.error for area in snapshot.areas)
        readings[IN_USE] = Reading(used, error, "the swap areas")
    return Facts(readings)


def _swapped(facts: Facts) -> int:
    return facts.number("memory.swap.current") or facts.number("zswapped") or 0


# How much is where ----------------------------------------------------------------------------------------------------


class _Pool(msgspec.Struct):
    """Pages in zswap: bytes before and after compression, and the counters that say so."""

    pages: int
    taken: int
    names: tuple[str, str]


def _pool(facts: Facts) -> _Pool | None:
    for original, compressed in (("zswapped", "zswap"), ("zswapped", "memory.zswap.current"), ("Zswapped", "Zswap")):
        pages, taken = facts.number(original), facts.number(compressed)
        if pages and taken:
            return _Pool(pages, taken, (original, compressed))
    stored, taken = facts.number("stored_pages"), facts.number("pool_total_size")
    return _Pool(stored * PAGE_SIZE, taken, ("stored_pages", "pool_total_size")) if stored and taken else None


def stored(facts: Facts) -> int:
    """Return bytes of pages in zswap, 0 where it is not known."""
    pool = _pool(facts)
    return pool.pages if pool else 0


def compression(facts: Facts) -> float | None:
    """Return bytes of pages in zswap by bytes that they take; None where it is not known."""
    pool = _pool(facts)
    return pool.pages / pool.taken if pool else None


def _ratio(facts: Facts) -> Iterator[Finding]:
    """The compression ratio, and what people take for it."""
    if not (pool := _pool(facts)):
        return
    ratio = pool.pages / pool.taken
    evidence = [f"{pool.names[0]} {_size(pool.pages)} / {pool.names[1]} {_size(pool.taken)} = {ratio:.2f}"]
    swap = facts.number("memory.swap.current")
    if swap and swap > pool.pages:
        evidence.append(
            f"not {swap / pool.taken:.2f}: memory.swap.current {_size(swap)} also counts pages that are not in zswap, "
            "in the swap cache or on disk"
        )
    same = facts.number("same_filled_pages")
    if same and pool.names[0] == "stored_pages":
        others = pool.pages - same * PAGE_SIZE
        evidence.append(f"without the {same:,} same-filled pages, which take no room: {others / pool.taken:.2f}")
    saved = pool.pages - pool.taken
    yield Finding(
        "ratio",
        "answer",
        f"zswap compresses {ratio:.2f} to 1",
        evidence,
        f"It holds {_size(pool.pages)} of pages in {_size(pool.taken)} of memory, and so saves {_size(saved)}.",
    )


def _used_swap(facts: Facts) -> tuple[int, int, str] | None:
    """Bytes of swap in use, how exact that is, and the counters that say so."""
    for name in ("memory.swap.current", IN_USE):
        if (used := facts.number(name)) is not None:
            return used, facts.error(name), f"{name} {_size(used)}"
    total, free = facts.number("SwapTotal"), facts.number("SwapFree")
    if total and free is not None:
        return total - free, facts.error("SwapTotal", "SwapFree"), f"SwapTotal - SwapFree {_size(total - free)}"
    return None


def _where(facts: Facts) -> Iterator[Finding]:
    """Where the pages are that have a swap slot."""
    used = _used_swap(facts)
    machine = "Zswapped" in facts
    original, cached = ("Zswapped", "SwapCached") if machine else ("zswapped", "swapcached")
    pages, cache = facts.number(original), facts.number(cached)
    if not used or not used[0] or pages is None or cache is None:
        return
    total, error, said = used
    rest = total - pages - cache
    error += facts.error(original, cached)
    about = f", give or take {_size(error)} by rounding" if error > PAGE_SIZE else ""
    evidence = [
        f"{said} - {original} {_size(pages)} (in zswap) - {cached} {_size(cache)} (in memory, with a slot) = "
        f"{_size(rest)}{about}"
    ]
    title = "Next to nothing is on disk" if rest <= error else f"{_size(rest)} is on disk, or was all zeros"
    consequence = (
        f"Of {_size(total)} of swap in use, {pages / total:.0%} is in zswap and {cache / total:.0%} in memory."
    )
    if cache * 10 > total:
        consequence += (
            " Pages in the swap cache have come back and were not written to since. They keep their slots, so swap "
            "looks fuller than it is. What came back from zswap is no longer there: it is compressed anew when it goes."
        )
    yield Finding("where", "answer", title, evidence, consequence)


def _hits(facts: Facts) -> Iterator[Finding]:
    """How many swap-ins zswap answered."""
    inside, device = facts.number("zswpin"), facts.number("pswpin")
    if not inside or device is None:
        return
    share = inside / (inside + device)
    yield Finding(
        "hits",
        "answer",
        f"zswap answered {share:.0%} of the swap-ins",
        [f"zswpin {inside:,} / (zswpin {inside:,} + pswpin {device:,}) = {share:.1%}"],
        f"{device:,} pages had to be read from the device since boot; readahead is among them.",
    )


# Writeback and refusals -------------------------------------------------------------------------------------


def _written_back(facts: Facts) -> int:
    return facts.number("written_back_pages") or facts.number("zswpwb") or 0


def _limit_writes(facts: Facts) -> Iterator[Finding]:
    """Writeback because the pool was full."""
    hits, written = facts.number("pool_limit_hit"), _written_back(facts)
    if not hits:
        return
    stored = facts.number("zswpout")
    share = f", {written / stored:.0%} of the {stored:,} that were stored" if stored and written else ""
    yield Finding(
        "pool-limit",
        "problem",
        "The pool reaches its limit",
        [f"pool_limit_hit {hits:,}; written back {written:,} pages, {_size(written * PAGE_SIZE)}{share}"],
        "Each time the limit is hit, pages go to the device until the pool is below accept_threshold_percent of its "
        "limit; until then what is swapped out goes there too, however often it is used.",
        "raise /sys/module/zswap/parameters/max_pool_percent, compress better (zstd), or set shrinker_enabled=Y, which "
        "writes back what is cold before the limit is reached",
    )


def _shrinker_writes(facts: Facts) -> Iterator[Finding]:
    """Writeback though the pool was never full."""
    hits, written = facts.number("pool_limit_hit"), _written_back(facts)
    if hits != 0 or not written:
        return
    shrinker, limit = facts.is_on("shrinker_enabled"), facts.number("memory.zswap.max")
    if shrinker:
        who = "the shrinker: shrinker_enabled is on, and memory pressure has it write back what is cold"
    elif shrinker is False:
        who = "a cgroup's memory.zswap.max: the shrinker is off"
    else:
        who = "the shrinker (shrinker_enabled), or a cgroup's memory.zswap.max"
    more = f"; memory.zswap.max is {_size(limit)}" if limit else ""
    yield Finding(
        "shrinker",
        "answer",
        f"{written:,} pages were written back by {who.split(':')[0]}",
        [f"written back {written:,} pages, {_size(written * PAGE_SIZE)}; pool_limit_hit 0: not the pool's limit{more}"],
        f"It was {who}. The pages that were written are on disk, and a fault on one waits for the device.",
    )


def _rejects(facts: Facts) -> Iterator[Finding]:
    """Pages that zswap did not take because they do not compress."""
    fail, poor = facts.number("reject_compress_fail") or 0, facts.number("reject_compress_poor") or 0
    refused, stored = fail + poor, facts.number("zswpout") or facts.number("stored_pages")
    if not refused or not stored:
        return
    name = "zswpout" if facts.number("zswpout") else "stored_pages, the least that were stored,"
    share = refused / (refused + stored)
    evidence = [
        f"reject_compress_fail {fail:,} + reject_compress_poor {poor:,} = {refused:,}",
        f"{refused:,} / ({refused:,} + {name} {stored:,}) = {share:.0%}",
    ]
    kind: Literal["answer", "problem"] = "problem" if share > 0.05 else "answer"
    yield Finding(
        "incompressible",
        kind,
        f"{share:.0%} of what was swapped out did not compress",
        evidence,
        f"{_size(refused * PAGE_SIZE)} took processor time and then went to the device. Linux 6.18 and later keep "
        "such pages in zswap as they are, where they take a whole page each.",
        "memory.zswap.max=0 for the cgroups whose data is compressed or encrypted already" if share > 0.05 else "",
    )


def _other_rejects(facts: Facts) -> Iterator[Finding]:
    """Stores that failed for want of memory, and writeback that found nothing to write."""
    counts = {name: count for name in FAILURES if (count := facts.number(name))}
    if not counts:
        return
    yield Finding(
        "rejects",
        "answer",
        "Some stores failed",
        [f"{name} {count:,}: {FAILURES[name]}" for name, count in counts.items()],
        "A page that is not stored goes to the device.",
    )


def _damaged(facts: Facts) -> Iterator[Finding]:
    """Pages that were stored and could not be read back."""
    if failed := facts.number("decompress_fail"):
        yield Finding(
            "damaged",
            "problem",
            f"{failed:,} stored pages could not be read back",
            [f"decompress_fail {failed:,}"],
            "The processes that needed them were killed. The cause is faulty memory, or a bug of the kernel.",
            "test the memory of this machine",
        )


# What holds, and what is set against each other -----------------------------------------------------------------------


def _room(facts: Facts) -> Iterator[Finding]:
    """How full the pool is."""
    pool, memory, percent = _pool(facts), facts.number("MemTotal"), facts.number("max_pool_percent")
    if not pool or not memory or percent is None or facts.number("pool_limit_hit"):
        return
    limit = memory * percent // 100
    yield Finding(
        "room",
        "answer",
        f"The pool is {pool.taken / limit:.0%} full" if limit else "The pool's limit is 0",
        [f"max_pool_percent {percent} % of MemTotal {_size(memory)} = {_size(limit)}; {_size(pool.taken)} is taken"],
        "The pool's limit is not the bottleneck: memory.max, or the memory itself, is what pages are swapped out for.",
    )


def _fallback(facts: Facts) -> Iterator[Finding]:
    """A compressor that was asked for and is not the active one."""
    asked, active = facts.word("zswap.compressor"), facts.word("compressor")
    if asked and active and asked != active:
        yield Finding(
            "compressor",
            "problem",
            f"zswap compresses with {active}, not with {asked}",
            [f"kernel command line: zswap.compressor={asked}; /sys/module/zswap/parameters/compressor: {active}"],
            "The kernel falls back to its default when a compressor's module is not there yet as zswap starts.",
            f"put the module of {asked} into the initramfs, or write {asked} to "
            "/sys/module/zswap/parameters/compressor after boot",
        )


def _off(facts: Facts) -> Iterator[Finding]:
    """Swap without zswap."""
    used = _used_swap(facts)
    if facts.is_on("enabled") is False and used and used[0]:
        yield Finding(
            "off",
            "problem",
            "zswap is off, and swap is in use",
            [f"/sys/module/zswap/parameters/enabled: {facts.word('enabled')}; {used[2]}"],
            "Every page that is swapped out goes to the device.",
            "echo Y > /sys/module/zswap/parameters/enabled; at boot: zswap.enabled=1",
        )


def _full(facts: Facts) -> Iterator[Finding]:
    """Limits of a cgroup that it is at."""
    for what, limit_name, means in (
        (
            "memory.current",
            "memory.max",
            "Reclaim runs on every charge; what cannot be swapped out ends in an OOM kill.",
        ),
        ("memory.swap.current", "memory.swap.max", "Nothing more can be swapped out, to zswap neither."),
        ("memory.zswap.current", "memory.zswap.max", "Each store writes back an older page first."),
    ):
        value, limit = facts.number(what), facts.number(limit_name)
        if value is not None and limit and value >= NEARLY * limit:
            yield Finding(
                limit_name,
                "problem",
                f"{limit_name} holds",
                [f"{what} {_size(value)} / {limit_name} {_size(limit)} = {value / limit:.0%}"],
                means,
                f"raise {limit_name}",
            )


def _no_writeback(facts: Facts) -> Iterator[Finding]:
    """Pages that can neither be compressed nor be written."""
    refused = (facts.number("reject_compress_fail") or 0) + (facts.number("reject_compress_poor") or 0)
    if facts.is_on("memory.zswap.writeback") is False and refused:
        yield Finding(
            "no-writeback",
            "problem",
            "Writeback is off, and there is data that does not compress",
            [f"memory.zswap.writeback 0; {refused:,} pages of this machine did not compress"],
            "With writeback off nothing of this cgroup goes to the device, so a page that does not compress stays in "
            "memory, and reclaim tries it again and again.",
            "echo 1 > memory.zswap.writeback (systemd: MemoryZSwapWriteback=yes)",
        )


# Swap areas -----------------------------------------------------------------------------------------------------------


def _inversion(snapshot: Snapshot, facts: Facts) -> Iterator[Finding]:
    """Swap on zram that is filled before a device, or under zswap."""
    zram = [area for area in snapshot.areas if area.is_zram]
    others = [area for area in snapshot.areas if not area.is_zram]
    if not zram:
        return
    first = max(zram, key=lambda area: area.priority)
    lower = [area for area in others if area.priority < first.priority]
    evidence = [
        f"{area.name}: priority {area.priority}, {_size(area.used)} of {_size(area.size)}" for area in snapshot.areas
    ]
    if lower:
        yield Finding(
            "inversion",
            "problem",
            "zram is filled first, so what is cold stays in memory",
            evidence,
            "Once zram is full, pages go to the next area. The coldest were swapped out first and stay in zram; pages "
            "that are in use go to the disk.",
            "use zswap over the disk and no zram: swapoff the zram device, zswap.enabled=1",
        )
    if facts.is_on("enabled"):
        yield Finding(
            "zswap-on-zram",
            "problem",
            "zswap is on above zram: pages are compressed twice",
            [*evidence, "/sys/module/zswap/parameters/enabled: Y"],
            "A page that zswap writes back is decompressed, and compressed again by zram. It frees hardly any memory.",
            "turn one of them off: zswap.enabled=0, or no zram",
        )


def _small(snapshot: Snapshot, facts: Facts) -> Iterator[Finding]:
    """Swap that is full before the pool is: each stored page has a slot."""
    size, pool = sum(area.size for area in snapshot.areas), _pool(facts)
    memory, percent = facts.number("MemTotal"), facts.number("max_pool_percent")
    if not size or not pool or not memory or percent is None:
        return
    limit, ratio = memory * percent // 100, pool.pages / pool.taken
    if size < limit * ratio:
        yield Finding(
            "small-swap",
            "problem",
            "Swap is full before the pool is",
            [
                f"pool: {percent} % of {_size(memory)} = {_size(limit)}, or {_size(limit * ratio)} of pages",
                f"swap: {_size(size)}",
            ],
            "Every page in zswap has a slot of swap, written or not. With the slots used up nothing more is stored.",
            f"make swap at least {_size(limit * ratio)}, or lower max_pool_percent",
        )


def _size(size: float) -> str:
    """Return bytes in whole MiB, as most counters are posted, so that people can follow the arithmetic."""
    return f"{size / MIB:,.0f}M" if abs(size) >= 10 * MIB else round_size(size)


_ANY: Final[tuple[Rule, ...]] = (_ratio, _where, _hits, _limit_writes, _shrinker_writes, _full, _no_writeback)
_MACHINE: Final[tuple[Rule, ...]] = (_rejects, _other_rejects, _damaged, _room, _off, _fallback)
_AREAS: Final = (_inversion, _small)
