"""The answer of ``swaplab tune``: tables, and the lines that set it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swaplab.linux.page import PAGE_SIZE
from swaplab.report.charts import MIB
from swaplab.report.parts import Chart, Part, Table, Verbatim
from swaplab.report.run import duration, reconstructed_from, slowdown
from swaplab.result import Result
from swaplab.scenario.model import Scenario
from swaplab.scenario.reconstructed import reconstructed
from swaplab.scenario.units import round_size
from swaplab.study.table import Outcome
from swaplab.study.tune import STEPS, Constraint, Point, Tuning, front
from swaplab.study.verify import Measured, measured_of

__all__ = ["measured_verdict", "settings", "tune_report", "verdict"]

KINDS_MAX = 10


def tune_report(found: Tuning, objective: str, measured: Sequence[Result]) -> list[Part]:
    """The best settings and how to set them; then the present and the best ones on a kernel, if they were run there."""
    parts: list[Part] = [_kinds_table(found), verdict(found, objective)]
    if traces := reconstructed(found.present.scenario):
        parts.append(reconstructed_from(traces).strip())
    parts += [Verbatim("\n".join(settings(point))) for point in found.best[:1]]
    if measured:
        present, chosen = map(measured_of, measured)
        table = _measured_table(f"Linux version {measured[0].info.release}", present, chosen)
        parts += [table, measured_verdict(present, chosen, objective)]
    return [*parts, _front_chart(found)]


def _front_chart(found: Tuning) -> Chart:
    """Where all that was tried stands between memory and stall, and on which side of the front."""

    def places(points: Sequence[Point]) -> list[tuple[float, float]]:
        return [(point.outcome.memory / MIB, point.outcome.time_lost / 1e9) for point in points]

    on_front = list(front(found.points))
    others = [point for point in found.points if point not in on_front and not point.most.killed]
    series = {"tried": others, "nothing is better in all": on_front, "present": [found.present]}
    series |= {"chosen": found.best[:1]} if found.best else {}
    named = {name: places(points) for name, points in series.items()}
    return Chart(
        "What there is to choose from",
        "memory held (MiB)",
        "stall (s)",
        named,
        kind="points",
        y_scale="symlog",
        marked=("present", "chosen"),
    )


def _kinds_table(found: Tuning) -> Table:
    """One row for each kind at its best, the present settings first; kinds that come to the same share a row."""
    headings = ["kind", "limits", "memory", "stall", "refaults", "writes"]
    headings += ["slowdown"] * (found.present.outcome.slowdown is not None)
    table = Table("The best of each kind", headings)
    rows: dict[tuple[int, Outcome], list[Point]] = {}
    for point in (found.present, *found.best):
        rows.setdefault((point.share, point.outcome), []).append(point)
    for (_, outcome), points in list(rows.items())[:KINDS_MAX]:
        names = [point.kind.name for point in points]
        table.add_row("\nor ".join(names), _share(points[0]), *_cells(outcome))
    return table


def _share(point: Point) -> str:
    return f"{point.share / STEPS:.0%}"


def _cells(outcome: Outcome) -> Iterator[str]:
    yield round_size(outcome.memory)
    yield duration(outcome.time_lost)
    yield f"{outcome.from_memory + outcome.from_disk:,.0f}"
    yield round_size(outcome.writes * PAGE_SIZE)
    if outcome.slowdown is not None:
        yield slowdown(outcome.slowdown, killed=bool(outcome.killed))


def verdict(found: Tuning, objective: str) -> str:
    """Say what is best, what that saves, and what each constraint costs."""
    if not found.best:
        return "Nothing that was tried keeps the constraints."
    best = found.best[0]
    sentences = [f"Best for {objective}: {best.kind.name}, limits at {_share(best)} of the present ones."]
    saved = found.present.outcome.memory - best.outcome.memory
    sentences.append(
        f"It holds {round_size(best.outcome.memory)} where the present settings hold "
        f"{round_size(found.present.outcome.memory)}, {round_size(abs(saved))} {'less' if saved >= 0 else 'more'}."
    )
    equal = [point.kind.name for point in found.best[1:] if point.is_like(best, objective)]
    if equal:
        sentences.append(f"By {objective} it cannot be told from {'; '.join(equal)}.")
    return " ".join([*sentences, *(_cost(constraint, best, point) for constraint, point in found.costs)])


def _cost(constraint: Constraint, best: Point, without: Point) -> str:
    more = best.outcome.memory - without.outcome.memory
    if more <= 0:
        return f"The limit on {constraint.name} costs nothing."
    return (
        f"Without the limit on {constraint.name} it would hold {round_size(more)} less, with a stall of "
        f"{duration(without.outcome.time_lost)}."
    )


def _measured_table(kernel: str, present: Measured, chosen: Measured) -> Table:
    """The present and the chosen settings as a real kernel has them."""
    table = Table(f"Measured on {kernel}", ["settings", "memory", "time", "refaults", "writes"])
    for name, each in (("as it is", present), ("chosen", chosen)):
        time = "killed" if each.killed else duration(each.time)
        table.add_row(name, round_size(each.memory), time, f"{each.refaults:,}", round_size(each.writes))
    return table


def measured_verdict(present: Measured, chosen: Measured, objective: str) -> str:
    """Say whether the gain is there."""
    if chosen.killed > present.killed:
        return "NOT CONFIRMED: with the chosen settings the kernel killed a workload for lack of memory."
    names = {"memory": "memory", "stall": "time", "refaults": "refaults", "writes": "writes"}
    before, after = getattr(present, names[objective]), getattr(chosen, names[objective])
    if after >= before:
        return f"NOT CONFIRMED: the kernel has no less {names[objective]} with the chosen settings."
    return f"Confirmed: the kernel has {1 - after / before:.0%} less {names[objective]} with the chosen settings."


def settings(point: Point) -> Iterator[str]:
    """Yield the lines that set it, by where they go."""
    scenario = point.scenario
    if scenario.swap.device == "zram":
        yield "/etc/systemd/zram-generator.conf:"
        yield from ("  [zram0]", f"  zram-size = {scenario.swap.size >> 20}")
        yield f"  compression-algorithm = {scenario.zswap.compressor}"
    yield "kernel command line:"
    yield f"  {_command_line(scenario)}"
    yield "now, until the next boot:"
    yield from (f"  echo {value} > /sys/module/zswap/parameters/{name}" for name, value in _parameters(scenario))
    for path, cgroup in scenario.cgroups.items():
        properties = [
            f"MemoryMax={cgroup.memory_max}" if cgroup.memory_max is not None else "",
            f"MemoryHigh={cgroup.memory_high}" if cgroup.memory_high is not None else "",
            "" if cgroup.memory_zswap_writeback else "MemoryZSwapWriteback=no",
        ]
        if any(properties):
            yield f"systemd unit of {path or 'the root'}:"
            yield from (f"  {each}" for each in properties if each)


def _parameters(scenario: Scenario) -> Iterator[tuple[str, object]]:
    zswap = scenario.zswap
    yield "enabled", "Y" if zswap.enabled else "N"
    if zswap.enabled:
        yield "compressor", zswap.compressor
        yield "max_pool_percent", zswap.max_pool_percent
        yield "shrinker_enabled", "Y" if zswap.shrinker_enabled else "N"


def _command_line(scenario: Scenario) -> str:
    return " ".join(f"zswap.{name}={value}" for name, value in _parameters(scenario))
