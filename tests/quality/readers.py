"""Every reader against mutations of good inputs: a result, or one line that names the file, within bounds.

Run it with ``make quality``, or one for longer: ``python -m tests.quality.readers --inputs 100000 --readers csv``.
The N-th input of a reader is the same every time.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import gzip
import json
import os
import random
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from swaplab.cli.common import console
from swaplab.doctor.facts import parse
from swaplab.doctor.rules import diagnose
from swaplab.doctor.starter import scenario_text
from swaplab.errors import SwaplabError
from swaplab.fidelity.truth import read_truth
from swaplab.fleet.histograms import read_histograms
from swaplab.fleet.thresholds import Aim, Tally, findings
from swaplab.races.cases import How, cases, fingerprint, judge
from swaplab.races.schedules import encode
from swaplab.races.schedules import load as load_schedules
from swaplab.races.schedules import replay as run_again
from swaplab.replay import replay
from swaplab.report.doctor import findings_text
from swaplab.report.fleet import thresholds_report
from swaplab.result import Result
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.cost import DEFAULT_COST, load_cost
from swaplab.scenario.load import load_scenario, parse_scenario
from swaplab.scenario.profile import read_profile, write_profile
from swaplab.scenario.trace import EVENTS, EventKind, Format, Stream, Trace, TraceWriter, convert
from swaplab.text import to_json
from swaplab.vm.engine import _Listener, _ShortError
from swaplab.vm.guest import listen
from swaplab.vm.kernel import own_kernel
from swaplab.vm.modules import module_bytes
from swaplab.vm.readings import table
from swaplab.vm.script import watched_files

ROOT = Path(__file__).parents[2]
RACE = "xarray-cleared-before-drain"
GUEST = "samples = 1\n[[workload]]\npages = 9\n"
MACHINE = """\
/proc/meminfo:MemTotal: 8000000 kB
/proc/meminfo:AnonPages: 3000000 kB
/proc/swaps:/dev/zram0 partition 4194300 1300 100
/proc/swaps:/dev/sda2 partition 8388604 1300 -2
/sys/kernel/mm/lru_gen/enabled:0x0007
/proc/sys/vm/page-cluster:3
/sys/fs/cgroup/a/memory.stat:anon 104857600
/sys/fs/cgroup/a/b/memory.stat:zswapped 4096000
/sys/fs/cgroup/a/b/memory.zswap.current:1000000
/sys/fs/cgroup/a/b/memory.swap.current:9000000
/sys/fs/cgroup/a/memory.max:max
/sys/fs/cgroup/a/b/memory.zswap.writeback:0
"""
SECONDS = 20
ACCESSES = 20_000  # a scenario that asks for more is only read
WORDS = [
    b"9" * 30,
    b"-1",
    b"0",
    b"1e308",
    b"nan",
    b"\xff",
    b"\x00",
    b"\x1b]0;",
    b"[" * 200,
    b"\r",
    b"a.b.",
    b"\xe2\x80\xae",
]


class Reader(NamedTuple):
    """What reads a file, and good files to begin with; their names have to be in what is said of bad ones."""

    read: Callable[[Path], object]
    seeds: list[bytes]
    name: str
    mutate: Callable[[list[bytes], random.Random], bytes] | None = None


class TooLongError(Exception):
    """A reader took longer than it may."""


# Readers --------------------------------------------------------------------------------------------------------------


def _run_scenario(path: Path) -> None:
    scenario = load_scenario(path)
    if Accesses(scenario).total <= ACCESSES:
        replay(scenario)


def _diagnose(path: Path) -> None:
    """Whatever is said of a report; a scenario that is made of it has to be one."""
    snapshot = parse(path.read_bytes().decode(errors="surrogateescape"), str(path))
    findings = diagnose(snapshot)
    to_json(findings)
    shown_on = console()
    with shown_on.capture():
        shown_on.print(*findings_text(findings, snapshot))
    text = scenario_text(snapshot, str(path))
    try:
        parse_scenario(text, "its scenario", path.parent)
    except SwaplabError as error:
        raise AssertionError(error) from None


def _convert(format: Format | None) -> Callable[[Path], object]:
    return lambda path: convert(path, path.with_name("out.parquet"), format, limit=100_000)


def _read_trace(path: Path) -> None:
    for chunk in Trace.open(path).chunks(with_time=False):
        assert len(chunk.page) + len(chunk.events)


def _schedules() -> bytes:
    """A file of schedules of an exhibit."""
    return encode([judge(RACE, index, How(None, False, False)) for index in range(len(cases(RACE)))])


def _run_again(path: Path) -> None:
    for each in load_schedules(path):
        run_again(path, each, {RACE: fingerprint(RACE)}).recording.steps()


def _mutated_schedules(seeds: list[bytes], choose: random.Random) -> bytes:
    """Half of them are still JSON, but for other schedules: else nearly all would be refused before any is run."""
    if choose.randrange(2):
        return mutated(seeds, choose)
    found = json.loads(choose.choice(seeds))
    for _ in range(choose.choice([1, 1, 2, 5])):
        breaking = choose.choice(found)
        if not isinstance(breaking.get("schedule"), dict) or "choices" not in breaking["schedule"]:
            continue
        choices = breaking["schedule"]["choices"]
        at = choose.randrange(len(choices) + 1)
        match choose.randrange(5):
            case 0:
                choices[at:at] = [choose.choice([0, 1, 2, -1, 7, 1 << 20, 1 << 70])] * choose.choice([1, 3, 500])
            case 1:
                del choices[at : at + choose.choice([1, 5])]
            case 2:
                choices[:] = [choose.randrange(4) for _ in range(choose.randrange(60))]
            case 3:
                found += [copy.deepcopy(breaking) for _ in range(choose.choice([1, 20]))]
            case _:
                breaking[choose.choice([*breaking])] = choose.choice(["", "x", None, 1, [], {}, "\ud800", "\n"])
    return json.dumps(found).encode()


def _eventful(path: Path) -> Path:
    """A small trace in which a process forks, shares, frees and exits."""
    zeros = np.zeros(40, np.uint16)
    kinds = (EventKind.SHARE, EventKind.FORK, EventKind.UNMAP, EventKind.DISCARD, EventKind.REMOVE, EventKind.EXIT)
    rows = [
        (i, kind, 1 if kind == EventKind.FORK else 2 if kind == EventKind.REMOVE else 0) for i, kind in enumerate(kinds)
    ]
    events = np.zeros(len(rows), EVENTS)
    for event, (at, kind, stream) in zip(events, rows, strict=True):
        event["at"], event["event"], event["stream"] = 40 if kind == EventKind.EXIT else at, kind, stream
        event["pages"] = 0 if kind == EventKind.EXIT else 3
        event["other"] = 2 if kind == EventKind.SHARE else 0
    with TraceWriter(path, with_events=True) as writer:
        writer.append(zeros, np.arange(40, dtype=np.uint32) % 5, zeros > 0, events=events)
        writer.finish([Stream("a", 5), Stream("b", 3, parent=0), Stream("m", 3, kind="shared")])
    return path


def _listen(path: Path) -> None:
    scenario = parse_scenario(GUEST, "guest", path.parent)
    listener = _Listener(scenario, Accesses(scenario), lambda *_: None)
    try:
        asyncio.run(listen(["sh", "-c", f"cat {shlex.quote(str(path))}"], listener, 5.0))
    except _ShortError:
        return  # it would be started again, with more memory
    first, *readings = listener.readings
    table(first, readings, [""])


def _count_pages(path: Path) -> None:
    aim = Aim(0.002, 0.98, 3.0, 1.0)
    with read_histograms(path) as histograms:
        tally = Tally(histograms.ages, aim)
        for rows in histograms.rows:
            tally.add(rows)
    thresholds_report(findings(tally), aim)


def readers(scratch: Path) -> dict[str, Reader]:
    """All of them, with files made in a directory where none ship."""
    (scratch / "in.csv").write_text("stream,time,page,write\n" + "a,1,7,r\nb,2,9,w\n" * 40)
    convert(scratch / "in.csv", scratch / "t.parquet")
    write_profile(scratch / "p.parquet", np.arange(8 * 4096, dtype=np.uint8).reshape(8, 4096), np.arange(1, 9), "x")
    replay(load_scenario(ROOT / "tests/warm_up.toml")).write(scratch / "r.parquet")
    region = {"start": "4,096", "end": "16,384", "nr_accesses": {"samples": 3}}
    damo = json.dumps([{"target_id": 1, "snapshots": [{"end_time": 5, "regions": [region, region]}]}]).encode()
    oracle = np.array([(i, i % 7, 4096, -1) for i in range(40)], "<u4,<u8,<u4,<i8").tobytes()
    files = ["anon 5\nunevictable 3\n", "oom_kill 0\n", "SwapTotal: 9\nSwapFree: 9\nMemFree: 9\n", "  count: 1\n"]
    reports: list[dict[str, object]] = [{"hello": "Linux version 6.12"}, {"settled": 9, "total": 9, "found": 1 << 30}]
    watched = watched_files(parse_scenario(GUEST, "guest", scratch))
    found = [*files, *["1\n"] * (len(watched) - len(files))]
    reports += [{"sample": at, "ns": at, "files": found} for at in (0, 36)]
    said = b"\n".join(map(msgspec.json.encode, [*reports, {"contents": 0, "sum": 1}, {"done": True}])) + b"\n"
    traces = [scratch / "t.parquet", _eventful(scratch / "events.parquet")]
    toml = sorted(ROOT.glob("scenarios/fidelity/*.toml"))[:12]
    truths = sorted(ROOT.glob("scenarios/fidelity/truth/*/*.json"), key=lambda path: path.stat().st_size)[:3]
    hostile = {
        each: [p.read_bytes() for p in sorted(ROOT.glob(f"tests/hostile/{each}/*"))]
        for each in ("csv", "damo", "scenario", "module")
    }
    posted = [path.read_bytes() for path in sorted(ROOT.glob("tests/doctor/*.txt"))]
    machines = [MACHINE.encode(), *posted, MACHINE.encode() + b"".join(posted[3:])]
    lackey = b"==5== Lackey\nI  0401ab70,3\n S 1fff000758,8\n L 1fff000ffc,8\r\n M 0401b770,1\n"
    histograms = b"machine,class,job,time,cold_0,cold_60,promotions_60\n"
    histograms += b"".join(b"m%d,web,j,%d,900,70,%d\n" % (i % 3, i * 60, i) for i in range(40))
    (scratch / "h.csv").write_bytes(histograms)
    pq.write_table(pa_csv.read_csv(scratch / "h.csv"), scratch / "h.parquet")
    return {
        "scenario": Reader(_run_scenario, [path.read_bytes() for path in toml] + hostile["scenario"], "x.toml"),
        "cost": Reader(load_cost, [DEFAULT_COST.to_toml().encode()], "x.toml"),
        "csv": Reader(_convert("csv"), [(scratch / "in.csv").read_bytes(), *hostile["csv"]], "x.csv"),
        "damo": Reader(_convert("damo"), [damo, gzip.compress(damo, mtime=0), *hostile["damo"]], "x.json"),
        "lackey": Reader(_convert("lackey"), [lackey * 3], "x.txt"),
        "oracle-general": Reader(_convert("oracle-general"), [oracle], "x.oracleGeneral"),
        "any trace": Reader(_convert(None), [damo, lackey, oracle, (scratch / "in.csv").read_bytes()], "x"),
        "trace": Reader(_read_trace, [path.read_bytes() for path in traces], "x.parquet"),
        "profile": Reader(lambda path: read_profile(path, path), [(scratch / "p.parquet").read_bytes()], "x.parquet"),
        "result": Reader(Result.read, [(scratch / "r.parquet").read_bytes()], "x.parquet"),
        "histograms": Reader(_count_pages, [histograms, (scratch / "h.parquet").read_bytes()], "x"),
        "truth": Reader(read_truth, [path.read_bytes() for path in truths], "x.json"),
        "doctor": Reader(_diagnose, machines, "x.txt"),
        "kernel": Reader(lambda path: own_kernel(path, None), [bytes(0x202) + b"HdrS" + bytes(2000)], "x"),
        "module": Reader(module_bytes, hostile["module"], "x.ko.xz"),
        "schedules": Reader(_run_again, [_schedules()], "x.json", _mutated_schedules),
        "guest": Reader(_listen, [said], ""),
    }


# Mutations ------------------------------------------------------------------------------------------------------------


def mutated(seeds: list[bytes], choose: random.Random) -> bytes:
    """A good input with a few things changed: bits, bytes, pieces of itself and of others, words, its end."""
    data = bytearray(choose.choice(seeds))
    for _ in range(choose.choice([1, 1, 2, 3, 8])):
        at = choose.randrange(len(data) + 1)
        size = choose.choice([1, 2, 4, 16, 64])
        match choose.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << choose.randrange(8)
            case 1:
                data[at : at + size] = choose.randbytes(choose.randrange(size + 1))
            case 2:
                data[at:at] = choose.choice(WORDS)
            case 3:
                del data[at : at + size * choose.choice([1, 8])]
            case 4:
                other = choose.choice(seeds)
                begin = choose.randrange(len(other) + 1)
                data[at : at + size] = other[begin : begin + size]
            case 5:
                del data[at:]
            case _:
                digits = [i for i, byte in enumerate(data) if byte in b"0123456789"]
                if digits:
                    place = choose.choice(digits)
                    data[place : place + 1] = choose.choice(WORDS[:5])
    return bytes(data)


# What may come of it --------------------------------------------------------------------------------------------------


def _too_long(*_: object) -> None:
    raise TooLongError


def outcome(reader: Reader, path: Path) -> str:
    """``read``, ``refused``, or what must not be."""
    signal.alarm(SECONDS)
    try:
        reader.read(path)
    except SwaplabError as error:
        if "\n" in str(error) and reader.name:
            return "refused in several lines"
        return "refused" if reader.name in str(error) else f"refused without the file's name: {error}"
    except TooLongError:
        return f"more than {SECONDS} seconds"
    except MemoryError:
        return "too much memory"
    except Exception:
        return "traceback: " + traceback.format_exc().strip().splitlines()[-1][:200]
    finally:
        signal.alarm(0)
    return "read"


def main() -> None:
    """Try all readers, and exit with status 1 if one does what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000, help="of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--readers", default="", help="some of them, with commas; all if not given")
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        chosen = readers(Path(scratch))
        for name in arguments.readers.split(",") if arguments.readers else chosen:
            failed += _try(name, chosen[name], arguments.first, arguments.inputs)
    sys.exit(bool(failed))


def _try(name: str, reader: Reader, first: int, inputs: int) -> int:
    began, counts, slowest = time.monotonic(), Counter[str](), 0.0
    count = inputs // 20 if name == "guest" else inputs  # which takes a process each
    path = Path(reader.name or "x")
    path.write_bytes(reader.seeds[0])
    outcome(reader, path)  # what is compiled the first time is no input's fault
    began = time.monotonic()
    for number in range(first, first + count):
        choose = random.Random(f"{name} {number}")  # noqa: S311 - for the same every time
        path.write_bytes((reader.mutate or mutated)(reader.seeds, choose))
        at = time.monotonic()
        found = outcome(reader, path)
        slowest = max(slowest, time.monotonic() - at)
        counts[found] += 1
        if found not in ("read", "refused") and counts[found] == 1:
            print(f"{name}, input {number}: {found}")  # noqa: T201
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    wrong = count - counts["read"] - counts["refused"]
    print(  # noqa: T201
        f"{name}: {count:,} inputs from number {first}: {counts['read']:,} read, {counts['refused']:,} refused, "
        f"{wrong:,} wrong; {time.monotonic() - began:.0f} s, {slowest:.1f} s at most, {peak} MB at most so far"
    )
    return wrong


if __name__ == "__main__":
    main()
