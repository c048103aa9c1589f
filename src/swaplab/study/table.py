"""The outcomes of a study, as one table: a row for each variant and cgroup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from swaplab.files import write_whole
from swaplab.notebook import Shown
from swaplab.result import Result
from swaplab.result.counters import EVENTS, LEVELS, MACHINE
from swaplab.scenario.model import Scenario
from swaplab.study.plan import Variant

__all__ = ["Outcome", "Spread", "Spreads", "Summary", "outcome_of", "spreads", "write_table"]

COUNTERS = (*EVENTS, *LEVELS, *MACHINE)
ROWS = 1 << 14  # held before they are written


class Outcome(NamedTuple):
    """The outcome of one variant, for the whole machine.

    Attributes:
        memory: bytes that its workloads and the compressed pool hold, in the mean over all samples.
        from_memory: faults that compressed memory served.
        from_disk: pages read from the device.
        writes: pages written to it.
        time_lost: nanoseconds that the workloads would not have spent with memory to spare.
        killed: workloads that were killed for lack of memory.
        slowdown: of the cgroup whose workloads are slowed most, as a share of what they take with all their memory;
            None where not all of them say what that is.
    """

    memory: float
    from_memory: float
    from_disk: float
    writes: float
    time_lost: float
    killed: float
    slowdown: float | None = None


class Summary(msgspec.Struct, frozen=True):
    """The part of a run that is kept.

    Attributes:
        outcome: what it comes to.
        finals: the last sample of each cgroup by counter; the machine's is empty.
    """

    outcome: Outcome
    finals: dict[str, dict[str, int]]


class Spread(NamedTuple):
    """Outcomes of one combination of settings over seeds: the median of each number, the least and the most."""

    settings: dict[str, str]
    median: Outcome
    least: Outcome
    most: Outcome


@dataclass(frozen=True)
class Spreads(Shown):
    """The outcomes of all combinations of settings of a plan, in its order.

    A notebook shows it as ``swaplab sweep`` does; libraries that take Arrow get its `table`.

    Attributes:
        rows: one for each combination.
        seeds: how many runs each is of.
        scenario: of the first combination.
    """

    rows: Sequence[Spread]
    seeds: int
    scenario: Scenario

    @property
    def table(self) -> pa.Table:
        """A row for each combination: its settings, and each number of `Outcome` with its least and its most."""
        return pa.Table.from_pylist([_flat(each) for each in self.rows])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the table to another library: the PyCapsule interface of Arrow."""
        return self.table.__arrow_c_stream__(requested_schema)


def _flat(spread: Spread) -> Mapping[str, object]:
    least, most = spread.least._asdict(), spread.most._asdict()
    numbers: dict[str, object] = {}
    for name, value in spread.median._asdict().items():
        numbers |= {name: value, f"{name}_least": least[name], f"{name}_most": most[name]}
    return {**spread.settings, **numbers}


def outcome_of(result: Result) -> Outcome:
    """Return what a run comes to."""
    series, last = result.series(), result.final()
    held = np.asarray(series["anon"]) + np.asarray(series["pool_total_size"])
    return Outcome(
        memory=float(held.mean()),
        from_memory=last.compressed_faults,
        from_disk=last.disk_reads,
        writes=last.disk_writes,
        time_lost=last.time_lost,
        killed=last["memory.events.oom_kill"],
        slowdown=_slowdown(result),
    )


def _slowdown(result: Result) -> float | None:
    if "" not in result.info.own_times:
        return None
    paths = {each.cgroup for each in result.info.scenario.workloads}
    return max(filter(None, map(result.slowdown, paths)), default=0.0)


def spreads(variants: Sequence[Variant], outcomes: Sequence[Outcome]) -> Spreads:
    """Return what every combination of settings comes to, over its seeds, in the order of the plan."""
    groups: dict[tuple[str, ...], tuple[dict[str, str], list[Outcome]]] = {}
    for variant, outcome in zip(variants, outcomes, strict=True):
        groups.setdefault(tuple(variant.settings.values()), (variant.settings, []))[1].append(outcome)
    rows = [
        Spread(settings, _each(median, outcomes), _each(min, outcomes), _each(max, outcomes))
        for settings, outcomes in groups.values()
    ]
    return Spreads(rows, len(variants) // len(groups), variants[0].scenario)


def _each(over: Callable[[Sequence[float]], float], outcomes: Sequence[Outcome]) -> Outcome:
    *numbers, slowdowns = zip(*outcomes, strict=True)
    known = [each for each in slowdowns if each is not None]
    return Outcome(*map(over, numbers))._replace(slowdown=over(known) if len(known) == len(outcomes) else None)


def write_table(path: Path, variants: Sequence[Variant], summaries: Iterable[Summary]) -> Iterator[Summary]:
    """Write all counters at the end of every variant as Parquet, and pass the summaries on as they come.

    A row for each variant and cgroup, in order (``""`` is the machine), with the variant's settings and seed. The file
    is there once the last summary was taken.

    Raises:
        OSError: the file cannot be written.
    """
    keys = list(dict.fromkeys(key for variant in variants for key in variant.settings))
    fields = [*((key, pa.string()) for key in keys), ("seed", pa.int64()), ("cgroup", pa.string())]
    schema = pa.schema([*fields, *((name, pa.int64()) for name in COUNTERS)])
    with write_whole(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        rows: list[dict[str, object]] = []
        for variant, summary in zip(variants, summaries, strict=True):
            about = {**variant.settings, "seed": variant.scenario.machine.seed}
            rows += [{**about, "cgroup": path, **values} for path, values in summary.finals.items()]
            yield summary
            if len(rows) >= ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))
