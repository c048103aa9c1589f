"""How right a trace is that is reconstructed from samples, and what sampling takes from a service.

    python benchmarks/attach.py [--seconds 40] [--rounds 6]

Programs that do the same every time are recorded exactly, under valgrind, and attached to while they run by themselves.
Both recordings are replayed under five limits, without zswap. Then redis serves a load while nobody looks and while
swaplab is attached, in turn. It takes gcc, valgrind and redis, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from swaplab.host.attach.methods import best_method
from swaplab.host.attach.proc import identity
from swaplab.host.attach.recording import attach
from swaplab.host.attach.targets import of_pid
from swaplab.host.attach.watch import watch
from swaplab.host.record import record
from swaplab.process import holding_signals
from swaplab.replay.engine import replay
from swaplab.scenario.load import load_scenario
from swaplab.scenario.trace import Trace

PAGES = 3000
SHARES = (0.9, 0.75, 0.6, 0.5, 0.4)
COUNTERS = ("pgmajfault", "pswpin", "pswpout")
PROGRAMS = ("zipf", "scan", "hot", "phases")
PORT = "7391"
KEYS = "100000"
SOURCE = """
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define PAGES %d
static double sums[PAGES];
static volatile char kept;
static unsigned long state = 88172645463325252ul;
static double drawn(void) {
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    return (state >> 11) / 9007199254740992.0;
}
static int zipf(void) {
    double at = drawn() * sums[PAGES - 1];
    int low = 0, high = PAGES - 1;
    while (low < high) { int middle = (low + high) / 2; if (sums[middle] < at) low = middle + 1; else high = middle; }
    return low * 1237l %% PAGES;
}
int main(int count, char **arguments) {
    char kind = arguments[1][0], line[9];
    int ticks = atoi(arguments[2]) * 100, place = 0;
    char *memory = malloc(PAGES * 4096l);
    for (int page = 0; page < PAGES; page++) {
        for (int byte = 0; byte < 4096; byte += 8)
            *(unsigned long *)(memory + page * 4096l + byte) = drawn() * 9e15;
        sums[page] = (page ? sums[page - 1] : 0) + pow(page + 1, -0.9);
    }
    puts("ready"); fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;
    struct timespec pause = {0, 10000000};
    for (int tick = 0; tick < ticks; tick++) {
        for (int each = 0; each < (kind == 's' ? 5 : kind == 'z' ? 60 : 30); each++) {
            int page = zipf();
            if (kind == 's') page = place++ %% PAGES;
            if (kind == 'h') page = drawn() < 0.8 ? drawn() * 600 : 600 + place++ / 2 %% (PAGES - 600);
            if (kind == 'p') page = drawn() * PAGES / 2 + (tick / 500 %% 2 ? PAGES / 2 : 0);
            if (drawn() < 0.5) memory[page * 4096l] += 1; else kept = memory[page * 4096l + 9];
        }
        nanosleep(&pause, NULL);
    }
}
"""


def compiled(directory: Path) -> Path:
    """Compile the program whose first argument says what it does, and the second for how many seconds."""
    (directory / "touch.c").write_text(SOURCE % PAGES)
    subprocess.run(["gcc", "-O1", "-o", directory / "touch", directory / "touch.c", "-lm"], check=True)  # noqa: S603, S607
    return directory / "touch"


def exactly(program: Path, kind: str, seconds: int, out: Path) -> None:
    """Record it under valgrind; what it waits for comes at once."""
    command = ["sh", "-c", f"echo go | {program} {kind} {seconds} >/dev/null"]
    record(command, out)


def attached(program: Path, kind: str, seconds: int, out: Path) -> None:
    """Attach to it while it runs by itself."""
    command = [str(program), kind, str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603
        assert running.stdin  # noqa: S101
        assert running.stdout  # noqa: S101
        running.stdout.readline()
        running.stdin.write("go\n")
        running.stdin.flush()
        # It takes longer than it sleeps; its end ends the recording.
        attach(kind, of_pid(running.pid).choose, out, seconds=2 * seconds, sample_pages=0)
        running.wait()


def faults(recording: Path, limit: int) -> list[int]:
    """Replay a recording under a limit in bytes."""
    changes = [f"cgroup.app.memory.max={limit // 1024}K", "zswap.enabled=false"]
    changes += ['machine.memory="1G"', "machine.page_cluster=0", 'workload.0.content="random"', 'swap.size="256M"']
    final = replay(load_scenario(recording / "scenario.toml", changes)).final("app")
    return [int(final[name]) for name in COUNTERS]


def judge(directory: Path, seconds: int) -> None:
    """Print how far faults are apart."""
    table = Table(title="Faults: recorded exactly, and reconstructed from samples of another run")
    for heading in (
        "program",
        "limit",
        *(f"{name}\n{how}" for name in COUNTERS for how in ("exact", "samples", "off")),
    ):
        table.add_column(heading, justify="left" if heading == "program" else "right")
    errors: dict[str, list[float]] = {name: [] for name in COUNTERS}
    program = compiled(directory)
    for kind in PROGRAMS:
        exact, samples = directory / f"{kind}.exact", directory / f"{kind}.samples"
        attached(program, kind, seconds, samples)
        exactly(program, kind, seconds, exact)
        peak = max(stream.pages for stream in Trace.open(exact / "trace.parquet").info.streams) * 4096
        for share in SHARES:
            cells = []
            both = [faults(each, round(peak * share)) for each in (exact, samples)]
            for name, right, found in zip(COUNTERS, *both, strict=True):
                off = (found - right) / max(right, 1)
                errors[name].append(abs(off))
                cells += [f"{right:,}", f"{found:,}", f"{off:+.0%}"]
            table.add_row(kind, f"{share:.0%}", *cells)
    Console(width=140).print(table)
    for name, found in errors.items():
        Console().print(
            f"{name}: {median(found):.1%} off in the median, {sorted(found)[int(0.9 * len(found))]:.0%} at p90"
        )


@contextmanager
def redis() -> Iterator[int]:
    """A server with some memory in use; its id."""
    command = ["redis-server", "--port", PORT, "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:  # noqa: S603
        time.sleep(1)
        load("set", 3 * int(KEYS), "-P", "16")
        yield server.pid
        server.terminate()


def load(test: str, count: int, *more: str) -> tuple[float, float]:
    """Have redis serve requests; return how many a second, and the p99 of their time in milliseconds."""
    command = ["redis-benchmark", "-p", PORT, "-t", test, "-n", str(count), "-r", KEYS, "-d", "400", "--csv", *more]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    cells = re.findall(r'"([^"]*)"', told.splitlines()[-1])
    return float(cells[1]), float(cells[6])


class Round(NamedTuple):
    """What redis did."""

    rate: float
    p99_ms: float
    server_us: float  # processor time of the server for a request


def slowdown(rounds: int, count: int) -> None:
    """Print what redis does with and without, in turn, and begins with each as often."""
    table = Table(title=f"redis: {count:,} GET a round, alone and attached to in turn")
    for heading in ("", "a second", "p99, ms", "server's processor, us a request"):
        table.add_column(heading, justify="right")
    found: dict[str, list[Round]] = {"alone": [], "attached": []}
    with redis() as pid:
        for number in range(rounds):
            for how in ("alone", "attached") if number % 2 else ("attached", "alone"):
                with looking(pid) if how == "attached" else nullcontext():
                    found[how].append(served(pid, count))
    for how, rounded in found.items():
        columns = zip(*rounded, strict=True)
        table.add_row(how, *(f"{median(each):,.2f} ({min(each):,.2f} to {max(each):,.2f})" for each in columns))
    Console(width=140).print(table)


def served(pid: int, count: int) -> Round:
    """One round."""
    before = identity(pid).processor
    rate, tail = load("get", count)
    return Round(rate, tail, (identity(pid).processor - before) / count * 1e6)


@contextmanager
def looking(pid: int) -> Iterator[None]:
    """Attach to a process in another one, from its first look on."""
    context = multiprocessing.get_context("fork")
    is_on = context.Event()

    def look() -> None:
        with holding_signals():
            watch(of_pid(pid).choose, 3600, best_method(), lambda seconds, samples: is_on.set())

    child = context.Process(target=look)
    child.start()
    is_on.wait()
    yield
    child.terminate()
    child.join()


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40, help="that the programs run")
    parser.add_argument("--rounds", type=int, default=6, help="of redis, each way; 0 for none")
    parser.add_argument("--requests", type=int, default=500_000, help="of each round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if options.rounds:
            slowdown(options.rounds, options.requests)
        if options.seconds:
            judge(Path(directory), options.seconds)


if __name__ == "__main__":
    main()
