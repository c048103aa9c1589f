"""How fast a replay is: against libCacheSim, against the bare loop, and as traces and footprints grow.

    python benchmarks/replay.py [--accesses 20000000] [--trace cloudPhysics.parquet]

The trace is Zipf(1.1) over 200,000 pages. Every page is touched once before the clock starts, and memory.max is the
capacity plus what all other pages take when compressed 3:1 and the page tables of all, so that the capacity is what
stays resident, throughout.
Both simulators read their trace from a file; the bare loop reads the replay's and only marks pages referenced.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from libcachesim import LRU, Clock, TraceReader, TraceType
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import Replay
from swaplab.replay.memory import touch_only
from swaplab.replay.state import PTRS_PER_TABLE
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.content import Ratio
from swaplab.scenario.model import Cgroup, Machine, Scenario, Swap, Workload, Zswap
from swaplab.scenario.trace import Stream, Trace, TraceWriter
from swaplab.scenario.trace.oracle_general import RECORD

PAGES = 200_000
CAPACITIES = (2_000, 20_000)
RATIO = 3.0
REPEATS = 3


def zipf(accesses: int) -> NDArray[np.uint32]:
    """Ranks of Zipf(1.1) below 200,000, from NumPy's default generator with seed 0."""
    random = np.random.default_rng(0)
    kept: list[NDArray[np.int64]] = []
    while sum(map(len, kept)) < accesses:
        drawn = random.zipf(1.1, 1_000_000)
        kept.append(drawn[drawn < PAGES])
    return np.concatenate(kept)[:accesses].astype(np.uint32)


def write_traces(pages: NDArray[np.uint32], directory: Path) -> tuple[Path, Path]:
    """The same accesses for swaplab and for libCacheSim."""
    ours, theirs = directory / "zipf.parquet", directory / "zipf.oracleGeneral"
    with TraceWriter(ours) as writer:
        zeros = np.zeros(len(pages), np.uint16)
        writer.append(zeros, pages, zeros.astype(bool))
        writer.finish([Stream("zipf", PAGES)], source="benchmarks/replay.py")
    rows = np.zeros(len(pages), RECORD)
    rows["id"], rows["size"], rows["next"] = pages, 1, -2
    rows.tofile(theirs)
    return ours, theirs


def scenario(trace: Path, capacity: int, pages: int) -> Scenario:
    """One cgroup in which `capacity` pages stay resident once all others are compressed."""
    limit = (capacity + int((pages - capacity) / RATIO) + -(-pages // PTRS_PER_TABLE)) * PAGE_SIZE
    return Scenario(
        machine=Machine(memory=16 * pages * PAGE_SIZE),
        zswap=Zswap(enabled=True, compressor="lzo", max_pool_percent=100),
        swap=Swap(size=2 * pages * PAGE_SIZE),
        cgroups={"a": Cgroup(memory_max=limit)},
        workloads=(Workload(cgroup="a", trace=str(trace), content=Ratio(RATIO)),),
        samples=1,
    )


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def replay_once(trace: Path, capacity: int) -> tuple[float, float, Replay]:
    """Seconds of a replay that starts with every page touched, and the share of accesses that fault."""
    pages = Trace.open(trace).info.streams[0].pages
    replay = Replay(scenario(trace, capacity, pages))
    replay.access(Chunk((np.arange(pages - 1, -1, -1) << 1).astype(np.uint32)))
    before = int(replay.machine.memcgs.pgmajfault.sum())

    def run() -> None:
        for chunk in replay.accesses.chunks():
            replay.access(chunk)

    elapsed = seconds(run)
    return elapsed, (int(replay.machine.memcgs.pgmajfault.sum()) - before) / replay.accesses.total, replay


def replay_seconds(trace: Path, capacity: int) -> tuple[float, float]:
    """Seconds, and the share of accesses that fault."""
    return replay_once(trace, capacity)[:2]


def bare_seconds(trace: Path) -> float:
    """Seconds of only reading the trace and marking pages referenced."""
    replay = Replay(scenario(trace, 1000, Trace.open(trace).info.streams[0].pages))
    referenced = np.zeros(int(replay.accesses.first[-1]), np.uint8)

    def run() -> None:
        for chunk in replay.accesses.chunks():
            touch_only(referenced, chunk.accesses)

    return seconds(run)


def in_memory_seconds(trace: Path) -> float:
    """Seconds of the bare loop alone, on accesses that are in memory already."""
    replay = Replay(scenario(trace, 1000, Trace.open(trace).info.streams[0].pages))
    accesses = np.concatenate([chunk.accesses for chunk in replay.accesses.chunks()])
    referenced = np.zeros(int(replay.accesses.first[-1]), np.uint8)
    return seconds(lambda: touch_only(referenced, accesses))


def peer_seconds(kind: type, trace: Path, capacity: int, **options: int) -> tuple[float, float]:
    """Seconds that libCacheSim takes, and its miss ratio."""
    cache = kind(cache_size=capacity, **options)
    reader = TraceReader(str(trace), TraceType.ORACLE_GENERAL_TRACE)
    start = time.perf_counter()
    misses = cache.process_trace(reader)[0]
    return time.perf_counter() - start, misses


def best(measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The fastest of some repetitions."""
    return min(measure() for _ in range(REPEATS))


def compare(ours: Path, theirs: Path, capacities: tuple[int, ...], console: Console) -> None:
    """Print accesses a second of all, and the ratios."""
    accesses = Trace.open(ours).info.accesses
    bare = min(bare_seconds(ours) for _ in range(REPEATS))
    memory = min(in_memory_seconds(ours) for _ in range(REPEATS))
    table = Table(title=f"{ours.stem}: {accesses:,} accesses, millions a second")
    for heading in ("capacity", "what", "M/s", "misses", "replay is"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for capacity in capacities:
        own, faults = best(lambda capacity=capacity: replay_seconds(ours, capacity))  # type: ignore[misc]
        table.add_row(f"{capacity:,}", "swaplab replay", f"{accesses / own / 1e6:.1f}", f"{faults:.1%}", "")
        for name, kind, options in (
            ("libCacheSim LRU", LRU, {}),
            ("libCacheSim Clock", Clock, {}),
            ("libCacheSim LRU, hashpower 18", LRU, {"hashpower": 18}),
        ):
            taken, misses = best(
                lambda kind=kind, capacity=capacity, options=options: peer_seconds(kind, theirs, capacity, **options)  # type: ignore[misc]
            )
            table.add_row("", name, f"{accesses / taken / 1e6:.1f}", f"{misses:.1%}", f"{taken / own:.2f} x")
        for name, taken in (("bare loop, reading the trace", bare), ("bare loop, trace in memory", memory)):
            table.add_row("", name, f"{accesses / taken / 1e6:.1f}", "", f"{taken / own:.0%}")
        table.add_section()
    console.print(table)


def measure(trace: Path) -> None:
    """Print seconds, bytes that the replay added to the process, and pages, as JSON."""
    capacity = Trace.open(trace).info.streams[0].pages // 10
    replay_seconds(trace, capacity)  # loads the code
    before = resident()
    elapsed, _faults, replay = replay_once(trace, capacity)
    print(json.dumps({"seconds": elapsed, "memory": resident() - before, "pages": len(replay.machine.pte)}))


def resident() -> int:
    """Bytes of this process that are resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measured(trace: Path) -> dict[str, float]:
    """What `measure` says in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(trace)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    result: dict[str, float] = json.loads(out)
    return result


def uniform_trace(directory: Path, pages: int, accesses: int) -> Path:
    """A trace of uniform accesses."""
    path = directory / f"uniform-{pages}-{accesses}.parquet"
    random = np.random.default_rng(1)
    with TraceWriter(path) as writer:
        for start in range(0, accesses, 1_000_000):
            count = min(1_000_000, accesses - start)
            zeros = np.zeros(count, np.uint16)
            writer.append(zeros, random.integers(0, pages, count, np.uint32), zeros.astype(bool))
        writer.finish([Stream("uniform", pages)], source="benchmarks/replay.py")
    return path


def growth(directory: Path, accesses: int, console: Console) -> None:
    """Print time and memory for ten times the trace, and bytes for each further page."""
    traces = [uniform_trace(directory, PAGES, accesses // 10), uniform_trace(directory, PAGES, accesses)]
    # In turn, so that both meet the machine at its best.
    rounds = [[measured(trace) for trace in traces] for _ in range(REPEATS)]
    short, long = (min(runs, key=lambda run: run["seconds"]) for runs in zip(*rounds, strict=True))
    wide = measured(uniform_trace(directory, 10 * PAGES, accesses // 10))
    console.print(
        f"10 times the trace: {long['seconds'] / short['seconds']:.2f} times the time, "
        f"{(long['memory'] - short['memory']) / 2**20:+.1f} MiB of memory"
    )
    each = (wide["memory"] - short["memory"]) / (wide["pages"] - short["pages"])
    console.print(f"{wide['pages'] - short['pages']:,} more pages: {each:.1f} bytes each")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accesses", type=int, default=20_000_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ours, theirs = write_traces(zipf(arguments.accesses), directory)
        compare(ours, theirs, CAPACITIES, console)
        growth(directory, arguments.accesses, console)


if __name__ == "__main__":
    main()
