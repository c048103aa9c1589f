"""What a study of a fleet costs: a simulated one, the same for every run, its machines' scenarios and its histograms.

    python benchmarks/fleet.py [--machines 200]

Three classes of machines with a random working set, limit, content and skew each: `web` (Zipf), `cache` (hot and cold),
`batch` (phases). They are small, 4 to 12 MB, since what is measured is the study, whose cost grows with the accesses.
The histograms are a day of them, a row for each job and five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SEED = 25
CLASSES = ("web", "cache", "batch")
PATTERNS = (
    '{{ kind = "zipf", exponent = {skew:.2f} }}',
    '{{ kind = "hot_cold", hot = {hot:.2f}, share = {share:.2f} }}',
    '{{ kind = "phases", share = {hot:.2f}, length = 5000 }}',
)
SCENARIO = """\
name = "{name}"
samples = 10
[machine]
memory = "32M"
[zswap]
enabled = true
compressor = "lz4"
[swap]
size = "64M"
device = "nvme"
[cgroup."app"]
memory.max = "{limit}K"
[[workload]]
cgroup = "app"
pages = {pages}
accesses = {accesses}
pattern = {pattern}
write_fraction = {writes:.2f}
think = "50us"
content = {{ ratio = {{ lz4 = {lz4:.2f}, zstd = {zstd:.2f} }} }}
"""
ACCESSES = 20_000
VARIED = ("limits=80%,90%", "zswap.compressor=lz4,zstd")
SETTINGS = 5  # with how they are
AGES = (0, 120, 240, 480, 960, 1920, 3840, 7680)
ROWS_A_DAY = 288


def make_machines(directory: Path, count: int) -> None:
    """Write a scenario for each machine, in a directory for each class."""
    random = np.random.default_rng(SEED)
    for number in range(count):
        kind = number % len(CLASSES)
        skew, hot, share, writes, slack = random.uniform((0.7, 0.1, 0.8, 0, 0.9), (1.2, 0.4, 0.99, 0.4, 1.3))
        pages, lz4 = int(random.integers(1000, 3000)), float(random.choice((1.5, 2, 2.5, 3, 3.5)))
        folder = directory / CLASSES[kind]
        folder.mkdir(parents=True, exist_ok=True)
        text = SCENARIO.format(
            name=f"machine {number}",
            limit=int(pages * 4 * slack),
            pages=pages,
            accesses=ACCESSES,
            pattern=PATTERNS[kind].format(skew=skew, hot=hot, share=share),
            writes=writes,
            lz4=lz4,
            zstd=lz4 * 1.3,
        )
        (folder / f"machine-{number:05}.toml").write_text(text)


def make_histograms(path: Path, count: int) -> None:
    """Write a day of all machines, an hour at a time."""
    random = np.random.default_rng(SEED)
    kind = np.arange(count) % len(CLASSES)
    pages = random.integers(1 << 20, 1 << 24, count)
    decay = random.uniform(0.3, 0.7, count) + 0.1 * (kind == 1)
    with_back = random.lognormal(np.array([-7.5, -8.0, -7.0])[kind], 0.7)
    names = pa.array([f"machine-{number:05}" for number in range(count)])
    with pq.ParquetWriter(path, schema()) as writer:
        for start in range(0, ROWS_A_DAY, 12):
            tables = [
                table_at(300.0 * row, names, kind, pages, decay, with_back, random) for row in range(start, start + 12)
            ]
            writer.write_table(pa.concat_tables(tables))


def schema() -> pa.Schema:
    """Columns of the histograms."""
    numbers = [*(f"cold_{age}" for age in AGES), *(f"promotions_{age}" for age in AGES[1:])]
    texts = [(name, pa.string()) for name in ("machine", "class", "job")]
    return pa.schema([*texts, ("time", pa.float64()), *((name, pa.int64()) for name in numbers)])


def table_at(
    seconds: float,
    names: pa.Array,
    kind: NDArray[np.int64],
    pages: NDArray[np.int64],
    decay: NDArray[np.float64],
    with_back: NDArray[np.float64],
    random: np.random.Generator,
) -> pa.Table:
    """All machines at one time."""
    shares = decay[:, None] ** np.arange(len(AGES)) * random.uniform(0.8, 1.2, (len(names), len(AGES)))
    cold = (pages[:, None] * shares / shares.sum(axis=1, keepdims=True)).astype(np.int64)
    back = (cold[:, 1:] * with_back[:, None] * 5 * random.uniform(0.5, 1.5, (len(names), len(AGES) - 1))).astype(
        np.int64
    )
    columns = [names, pa.array([CLASSES[each] for each in kind]), names, pa.array(np.full(len(names), seconds))]
    columns += [pa.array(each) for each in (*cold.T, *back.T)]
    return pa.table(columns, schema())


def measured(arguments: list[str]) -> dict[str, float | str]:
    """Run swaplab; return wall clock and processor seconds, the memory of its largest process, and what it printed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        command = [sys.executable, "-m", "swaplab", *arguments]
        process = subprocess.Popen(command, stdout=printed, env=os.environ | {"COLUMNS": "80"})  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        if process.returncode:
            raise SystemExit(process.returncode)
        return {
            "wall": time.perf_counter() - began,
            "processor": usage.ru_utime + usage.ru_stime,
            "megabytes": usage.ru_maxrss / 1024,
            "printed": printed.read(),
        }


def shown(found: dict[str, float | str], what: str) -> str:
    """Return a line and what was printed."""
    return (
        f"{what}: {float(found['processor']) / 3600:.3f} core-hours, {float(found['wall']):.0f} s, at most "
        f"{float(found['megabytes']):.0f} MB in a process\n\n{found['printed']}"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)  # another one each time, so that nothing is known of it
        make_machines(place / "machines", arguments.machines)
        make_histograms(place / "histograms.parquet", arguments.machines)
        first = place / "machines" / CLASSES[0] / "machine-00000.toml"
        measured(["run", str(first), "--json"])  # compiles
        histograms = measured(["fleet", str(place / "histograms.parquet")])
        varied = [f"--vary={each}" for each in VARIED]
        command = ["fleet", str(place / "machines"), *varied, "--within", "slowdown<=5%", "--percentile", "95"]
        machines = measured(command)
    if arguments.json:
        print(json.dumps({"histograms": histograms, "machines": machines}))
        return
    count = arguments.machines
    print(shown(histograms, f"a day of histograms of {count:,} machines"))
    accesses = count * SETTINGS * ACCESSES / 1e6
    print(shown(machines, f"{count:,} machines under {SETTINGS} settings, {accesses:,.0f} million accesses"))


if __name__ == "__main__":
    main()
