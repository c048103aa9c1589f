"""Put what swaplab says now between the marks of the documents; with --bench, what the benchmarks say as well.

Benchmarks take minutes, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

import msgspec

from swaplab.errors import InputError
from swaplab.explore import Violated
from swaplab.fidelity.suite import recorded_truth
from swaplab.files import write_whole
from swaplab.linux.release import BASE
from swaplab.races.cases import Judgement
from swaplab.races.museum import exhibits, suspects
from swaplab.replay import replay
from swaplab.report.charts import charts
from swaplab.report.check import judgement
from swaplab.report.page import COLOURS
from swaplab.report.vega import svg
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import with_baseline
from swaplab.vm import at_pace

__all__ = [
    "BENCHMARKS",
    "DEMO",
    "DIAGRAMS",
    "DOCTOR",
    "FEARED",
    "PICTURE",
    "block",
    "ending",
    "filled",
    "first_finding",
    "output",
    "picture",
    "speed",
]

ROOT = Path(__file__).parents[1]
DEMO = ("-c", "from swaplab.cli import main; main()", "run", "scenarios/demo.toml", "--compare")
CHECK = ("-c", "from swaplab.cli import main; main()", "check")
TUNE = ("-c", "from swaplab.cli import main; main()", "tune", "scenarios/demo.toml", "--within", "stall<=1s")
DOCTOR = ("-c", "from swaplab.cli import main; main()", "doctor", "tests/doctor/limited_cgroup.txt")
BENCH = {
    "bench": ("benchmarks/replay.py",),
    "bench-explore": ("benchmarks/explore.py",),
    "bench-kernel": ("benchmarks/kernel.py",),
}
FIDELITY = ("-c", "from swaplab.cli import main; main()", "fidelity", "--recorded")
OFFLINE = "docs/offline.md"
BENCHMARKS = "docs/benchmarks.md"
PICTURE = "docs/demo.svg"
FEARED = {
    "swallowed": ("add, list_lru feared, lookup rcu", "no list that reclaim can reach"),
    "crash": ("add, then removal, list_lru feared", "used after"),
}
"""What was feared, by mark: the field of the matrix, and what the sentence of the violation says."""
NEIGHBOUR = (
    ("`cold`: into zswap", "cold", "zswpout"),
    ("`cold`: written back", "cold", "zswpwb"),
    ("read from the device, all for `cold`", "", "pswpin"),
    ("`cold`: major faults", "cold", "pgmajfault"),
    ("`beside`: into zswap", "beside", "zswpout"),
    ("`beside`: written back", "beside", "zswpwb"),
    ("`beside`: major faults", "beside", "pgmajfault"),
)
"""Rows of what the neighbour pays: a title, a cgroup and its counter."""
DIAGRAMS = {
    "answer": "add, list_lru 6.12, lookup rcu, lists at offline",
    "late-id": "without id-before-splice",
    "early-read": "without id-under-lock",
    "lruvec": "page, faulted in without lruvec-checked-again",
    "at-release": "add, its slot holds the child, list_lru 6.12, lookup rcu, lists at release",
}
"""Fields of the matrix that the answer shows, by mark."""


def output(arguments: tuple[str, ...]) -> str:
    """Return what Python prints for `arguments` in the repository, 80 columns wide and without blanks at line ends."""
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def field(only: str) -> str:
    """Return what swaplab says of a field of the matrix; it is 1 where something breaks, as it should."""
    return output((*CHECK, "offline", "--jobs", "1", "--only", only))


def violation(only: str, sentence: str) -> str:
    """Return what swaplab says of one of the things that break a field of the matrix."""
    printed = output((*CHECK, "offline", "--jobs", "1", "--only", only, "--json"))
    judged = msgspec.json.decode(printed, type=list[Judgement])[0]
    found = judged.verdict.violations if isinstance(judged.verdict, Violated) else []
    meant = [each for each in found if sentence in each.sentence]
    return judgement(msgspec.structs.replace(judged, verdict=msgspec.structs.replace(judged.verdict, violations=meant)))


def verdicts(*targets: str) -> list[dict[str, Any]]:
    """Return all verdicts on some targets."""
    found: list[dict[str, Any]] = json.loads(output((*CHECK, *targets, "--json")))
    return found


def ending(printed: str, beginning: str) -> str:
    """What a command prints, from the line on that begins like that."""
    lines = printed.split("\n")
    return "\n".join(lines[next(at for at, line in enumerate(lines) if line.startswith(beginning)) :])


def first_finding(printed: str) -> str:
    """The first of the doctor's findings."""
    return printed.partition("\n\n")[0]


def picture() -> str:
    """Draw the memory of the demo over time, as `--html` does, with its colours inside for light and dark readers."""
    chart = next(charts([replay(load_scenario(ROOT / "scenarios/demo.toml"))]))
    style = f"{COLOURS} svg {{ background: var(--paper); }}"
    return svg(chart).replace(">", f"><title>{chart.title}</title><style>{style}</style>", 1)


def speed(benchmarks: str) -> str:
    """How fast the replay is beside libCacheSim, as a table: from what the benchmark printed into that document."""
    rows = re.findall(r"│ (swaplab replay|libCacheSim LRU) +│ +([\d.]+) │", benchmarks)
    rates = {name: [rate for each, rate in rows if each == name] for name, _ in rows}
    lines = ["| million accesses a second, on one core | 2,000 pages fit | 20,000 pages fit |", "|---|---:|---:|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(each)} |" for name, each in rates.items())])


def matrix(*beginnings: str) -> str:
    """The matrix, or the fields whose names begin like that, as a table."""
    rows = ["| scenario and protocol | verdict | executions |", "|---|---|---:|"]
    for each in verdicts("offline"):
        if beginnings and not each["label"].startswith(beginnings):
            continue
        verdict = each["verdict"]
        kinds = ", ".join(dict.fromkeys(each["kind"] for each in verdict.get("violations", [])))
        more = "; more may break" if kinds and verdict["limit"] else ""
        kind = f"**violated**: {kinds}{more}" if kinds else "holds, complete"
        rows.append(f"| {each['label']} | {kind} | {verdict['effort']['executions']:,} |")
    return "\n".join(rows)


def museum() -> str:
    """The museum as a table."""
    rows = ["| race | found broken, as | in | held mended, in |", "|---|---|---:|---:|"]
    judged = verdicts("--all")
    for exhibit in exhibits():
        own = [each for each in judged if each["target"] == exhibit.name]
        kinds = dict.fromkeys(each["kind"] for one in own for each in one["verdict"].get("violations", []))
        counts = {
            holds: sum(each["verdict"]["effort"]["executions"] for each in own if each["holds"] is holds)
            for holds in (False, True)
        }
        name = f"[{exhibit.name}](../src/swaplab/races/{exhibit.name.replace('-', '_')}.py): {exhibit.title}"
        rows.append(f"| {name} | {', '.join(kinds)} | {counts[False]:,} | {counts[True]:,} |")
    return "\n".join(rows)


def suspected() -> str:
    """What is suspected of 7.2, as a table: as read, and with what would mend it, or break it."""
    rows = ["| suspicion | program | verdict | executions |", "|---|---|---|---:|"]
    for suspect in suspects():
        name = f"[{suspect.name}](../src/swaplab/races/{suspect.name.replace('-', '_')}.py): {suspect.title}"
        for each in verdicts(suspect.name):
            kinds = ", ".join(dict.fromkeys(found["kind"] for found in each["verdict"].get("violations", [])))
            kind = f"**violated**: {kinds}" if kinds else "holds, complete"
            program = each["label"].partition(": ")[2]
            rows.append(f"| {name} | {program} | {kind} | {each['verdict']['effort']['executions']:,} |")
            name = ""
    return "\n".join(rows)


def neighbour() -> str:
    """What happens to two cgroups under one LRU, under one each, and on Linux, as a table."""
    file = ROOT / "scenarios/fidelity/cold-neighbour.toml"
    scenario = load_scenario(file)
    truth = recorded_truth(file, scenario, BASE)
    replays = [
        replay(at_pace(with_baseline(scenario, baseline), truth.pace), truth.pace.cost)
        for baseline in ("global-lru", "memcg")
    ]
    rows = [
        "| | one LRU, as before the series (replay) | an LRU a cgroup (replay) | "
        f"Linux 6.12 (median of {len(truth.runs)} runs) |",
        "|---|---:|---:|---:|",
    ]
    for title, path, counter in NEIGHBOUR:
        numbers = [each.final(path)[counter] for each in replays]
        numbers.append(round(median(run[path][counter][-1] or 0 for run in truth.runs)))
        rows.append(f"| {title} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return "\n".join(rows)


def summary_of(fidelity: str) -> str:
    """What swaplab says of the suite, release by release, without its tables and the names of scenarios."""
    said = [" ".join(part.split()) for part in fidelity.split("\n\n")]
    kept = [part.partition(" ~ ")[0] for part in said if part.startswith(("The replay's error", "Errors are"))]
    return "\n\n".join(fill(part, 80) for part in kept)


def block(name: str, text: str, is_table: bool = False) -> str:
    """`text` as it stands in a document, its marks included."""
    inside = text if is_table else f"```text\n{text}\n```"
    return f"<!-- {name} -->\n{inside}\n<!-- /{name} -->"


def filled(readme: str, name: str, text: str, is_table: bool = False) -> str:
    """A document with `text` between the marks of `name`.

    Raises:
        InputError: the marks are not there once.
    """
    marks = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    parts = marks.split(readme)
    if len(parts) != 2:
        raise InputError("document", f"<!-- {name} --> and <!-- /{name} --> once", f"{len(parts) - 1} times")
    return block(name, text, is_table).join(parts)


def write(document: str, name: str, text: str, is_table: bool = False) -> None:
    """Put something between the marks of a document."""
    path = ROOT / document
    changed = filled(path.read_text(), name, text, is_table)
    with write_whole(path) as partial:
        partial.write_text(changed)


def main() -> None:
    """Run what is to be shown, then write the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", action="store_true", help="run the benchmarks as well")
    if parser.parse_args().bench:
        for name, arguments in BENCH.items():
            write(BENCHMARKS, name, output(arguments))
    write("README.md", "demo", ending(output(DEMO), "The same accesses"))
    write("README.md", "tuned", ending(output(TUNE), "Best for memory"))
    write("README.md", "doctor", first_finding(output(DOCTOR)))
    write("README.md", "verdicts", matrix("add, list_lru feared", "add, list_lru 6.12"), is_table=True)
    write("README.md", "speed", speed((ROOT / BENCHMARKS).read_text()), is_table=True)
    (ROOT / PICTURE).write_text(picture())
    fidelity = output(FIDELITY)
    write("docs/guides/fidelity.md", "fidelity", fidelity)
    write("README.md", "fidelity", summary_of(fidelity))
    for name, meant in FEARED.items():
        shown = violation(*meant)
        write(OFFLINE, name, shown)
        if name == "swallowed":
            write("README.md", name, shown)
    for name, only in DIAGRAMS.items():
        write(OFFLINE, name, field(only))
    write(OFFLINE, "matrix", matrix(), is_table=True)
    write("docs/neighbour.md", "neighbour", neighbour(), is_table=True)
    write("docs/races.md", "museum", museum(), is_table=True)
    write("docs/races.md", "suspects", suspected(), is_table=True)


if __name__ == "__main__":
    main()
