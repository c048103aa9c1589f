"""How fast a sweep is: beside as many separate runs, and beside nothing but the replays themselves.

    python benchmarks/study.py [--variants 1000] [--processes 2]

The demo's two recordings, 3.1 million accesses, under limits from 40M to 64M with two compressors. Separate runs and
bare replays are measured on every n-th variant, one after the other, and their sum is scaled to all; what a bare replay
takes is its accesses alone, with everything made before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from swaplab.replay import Replay
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.study.plan import Variant, of_axes
from swaplab.study.run import Summarise, processes
from swaplab.study.share import Shared
from swaplab.study.vary import Axis

SCENARIO = Path(__file__).parents[1] / "scenarios/demo.toml"
SAMPLE = 20


def plan(count: int) -> list[Variant]:
    """So many variants: half of them with lz4, half with zstd."""
    limits = tuple(str((40 << 20) + (24 << 20) * i // count) for i in range(0, count, 2))
    return of_axes(SCENARIO, [], [Axis("zswap.compressor", ("lz4", "zstd")), Axis("cgroup.shop.memory.max", limits)])


def seconds(action: Callable[[], object]) -> float:
    """Wall clock time of something."""
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def sweep(variants: Sequence[Variant], count: int) -> None:
    """All of it, with no cache from before."""
    with processes(count) as mapped:
        for _ in mapped(Summarise(DEFAULT_COST), variants):
            pass


def separate(variants: Sequence[Variant]) -> None:
    """Each as a command of its own."""
    for variant in variants:
        settings = [f"--set={key}={value}" for key, value in variant.settings.items()]
        command = [sys.executable, "-m", "swaplab", "run", str(SCENARIO), "--json", *settings]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def bare(variants: Sequence[Variant]) -> float:
    """Seconds that the accesses of some variants take."""
    shared, total = Shared(), 0.0
    for variant in variants:
        replay = Replay(variant.scenario, prepared=shared.prepared(variant.scenario))
        before = time.perf_counter()
        for chunk in replay.accesses.chunks():
            replay.access(chunk)
        total += time.perf_counter() - before
    return total


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    variants = plan(arguments.variants)
    some = variants[:: max(1, len(variants) // SAMPLE)]
    separate(variants[:1])  # compiles
    scale = len(variants) / len(some)
    with tempfile.TemporaryDirectory() as cache:
        bare(some[:1])
        alone = bare(some) * scale
        apart = seconds(lambda: separate(some)) * scale
        os.environ["XDG_CACHE_HOME"] = cache
        sweep(variants[:1], 1)  # compiles there
        together = seconds(lambda: sweep(variants[1:], arguments.processes)) * len(variants) / (len(variants) - 1)
    found = {"variants": len(variants), "sweep": together, "separate": apart, "bare": alone}
    if arguments.json:
        print(json.dumps(found))
        return
    table = Table("", "seconds", "beside the replays", title=f"{len(variants):,} variants")
    table.add_row(f"swaplab sweep, {arguments.processes} processes", f"{together:.1f}", f"{together / alone:.2f}")
    table.add_row(f"as many runs, one by one ({len(some)} measured)", f"{apart:.1f}", f"{apart / alone:.2f}")
    table.add_row(f"the replays alone, one by one ({len(some)} measured)", f"{alone:.1f}", "1")
    Console().print(table)


if __name__ == "__main__":
    main()
