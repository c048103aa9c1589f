"""A directory of recordings or scenarios, one for each machine, under some settings: what suits, and whom it harms."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.files import scratch_directory
from swaplab.scenario.device import Device
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import Scenario
from swaplab.scenario.reconstructed import reconstructed
from swaplab.study.plan import Variant
from swaplab.study.run import Map, Task
from swaplab.study.table import Outcome
from swaplab.study.tune import Constraint, check_base, limited, value_of
from swaplab.study.vary import Axis, combinations

__all__ = ["AS_IT_IS", "Choice", "Class", "Machine", "Plan", "choose", "machines_in", "settings_of"]

MACHINES_MAX: Final = 100_000
LIMITS: Final = "limits"
"""An axis of its own: memory.max and memory.high of all cgroups, as a percentage of what they are."""
AS_IT_IS: Final[dict[str, str]] = {}
SLOWER: Final = 0.05
"""Of its stall as it is: more is a loss, where no constraint says what is."""
OVERALL: Final = ""


class Machine(NamedTuple):
    """One of a fleet.

    Attributes:
        kind: its class: the directories between the fleet's and its own.
        name: of its recording's directory, or of its file.
        path: its scenario.
    """

    kind: str
    name: str
    path: Path


def machines_in(directory: Path) -> list[Machine]:
    """Return the machines of a fleet, in order: each ``scenario.toml`` is one, and each other TOML file.

    Raises:
        InputError: there are none, or too many.
        OSError: a directory cannot be read.
    """
    found = []
    for path in _files(directory):
        own = path.parent if path.name == "scenario.toml" and path.parent != directory else path
        kind = own.parent.relative_to(directory).as_posix()
        found.append(Machine("" if kind == "." else kind, own.name if own != path else path.stem, path))
        if len(found) > MACHINES_MAX:
            raise InputError(directory, f"at most {MACHINES_MAX} machines", "more")
    if not found:
        raise InputError(directory, "recordings, or scenarios in TOML", "none")
    return found


def _files(directory: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for root, below, names in os.walk(directory, onerror=refuse):
        below.sort()
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".toml"))


# What is run ----------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """Each machine as it is, and under each of some settings.

    Attributes:
        machines: all of them.
        overrides: ``KEY=VALUE`` each, for all, also as they are.
        settings: by key; the first is `AS_IT_IS`.
        device: of those whose scenario has none.
    """

    machines: list[Machine]
    overrides: Sequence[str]
    settings: list[dict[str, str]]
    device: Device | None = None

    def __len__(self) -> int:
        return len(self.machines) * len(self.settings)

    def check(self, constraints: Sequence[Constraint] = ()) -> None:
        """Check each scenario as it is, and the first one under all settings.

        Raises:
            InputError: one is wrong, or lacks what a constraint compares with.
            OSError: one cannot be read.
        """
        for machine in self.machines:
            check_base(self._scenario(machine, AS_IT_IS), constraints)
        for settings in self.settings:
            self._scenario(self.machines[0], settings)

    def reconstructed(self) -> int:
        """Return how many machines have traces of which no access was seen."""
        return sum(bool(reconstructed(self._scenario(machine, AS_IT_IS))) for machine in self.machines)

    def first(self) -> Iterator[Variant]:
        """Yield the variants of the first machine."""
        yield from (Variant(settings, self._scenario(self.machines[0], settings)) for settings in self.settings)

    def variants(self) -> Iterator[Variant]:
        """Yield all, machine by machine, as they are needed."""
        for machine in self.machines:
            for settings in self.settings:
                yield Variant(settings, self._scenario(machine, settings))

    def _scenario(self, machine: Machine, settings: dict[str, str]) -> Scenario:
        changes = [f"{key}={value}" for key, value in settings.items() if key != LIMITS]
        scenario = load_scenario(machine.path, [*self.overrides, *changes], self.device)
        return limited(scenario, _percent(settings[LIMITS]), 100) if LIMITS in settings else scenario


def settings_of(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """Return all combinations of the axes' values, and before them none at all.

    Raises:
        InputError: a key is varied twice, limits are no percentages, or there are too many.
    """
    for axis in axes:
        for value in axis.values if axis.key == LIMITS else ():
            _percent(value)
    return [AS_IT_IS, *(settings for settings, _ in combinations(axes, 1))]


def _percent(text: str) -> int:
    number = text.removesuffix("%")
    if number == text or not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise InputError(f"--vary {LIMITS}", "percentages such as 70%,80%", text)
    return int(number)


# What comes of it -----------------------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """The outcome of a class of machines under some settings.

    Attributes:
        settings: by key.
        total: of the objective over all machines.
        gains: what each machine gains in the objective, as a share of what it has as it is, ascending.
        losers: numbers of the machines that lose by it.
    """

    settings: dict[str, str]
    total: float
    gains: NDArray[np.float64]
    losers: list[int]


class Class(NamedTuple):
    """One class of machines.

    Attributes:
        kind: its name; `OVERALL` for all.
        machines: how many.
        choices: what each of the settings comes to, in the order of the plan.
        best: the number of what to set.
    """

    kind: str
    machines: int
    choices: list[Choice]
    best: int


def choose(
    plan: Plan,
    mapped: Map,
    task: Task,
    objective: str,
    constraints: Sequence[Constraint],
    share: float,
    step: Callable[[], object] = lambda: None,
) -> list[Class]:
    """Run a plan and return what to set, for each class by name and last for all machines.

    That is what makes the objective least over the class, of what at most ``1 - share`` of its machines lose by. A
    machine loses where a workload is killed that was not as it is, and where it breaks a constraint that it kept as it
    is, or breaks it more. Without constraints, it loses where it stalls more.

    Args:
        objective: one of `swaplab.study.tune.OBJECTIVES`.
        step: called after every variant.
    """
    kinds = sorted({machine.kind for machine in plan.machines})
    own = np.array([kinds.index(machine.kind) for machine in plan.machines])
    with scratch_directory() as scratch:  # on a disk, so that memory does not grow with the fleet
        shape = (len(plan.settings), len(plan.machines), len(Outcome._fields))
        numbers = np.memmap(scratch / "outcomes", np.float64, "w+", shape=shape)
        for at, summary in enumerate(mapped(task, plan.variants())):
            machine, number = divmod(at, len(plan.settings))
            numbers[number, machine] = [np.nan if value is None else value for value in summary.outcome]
            step()
        members = [(kind, np.flatnonzero(own == number)) for number, kind in enumerate(kinds)]
        if kinds != [OVERALL]:
            members.append((OVERALL, np.arange(len(own))))
        return [_class(kind, which, plan, numbers, objective, constraints, share) for kind, which in members]


def _class(
    kind: str,
    which: NDArray[np.int64],
    plan: Plan,
    numbers: NDArray[np.float64],
    objective: str,
    constraints: Sequence[Constraint],
    share: float,
) -> Class:
    before = _outcomes(numbers[0, which])
    choices = []
    for number, settings in enumerate(plan.settings):
        after = _outcomes(numbers[number, which])
        values = [(value_of(old, objective), value_of(new, objective)) for old, new in zip(before, after, strict=True)]
        losing = [_loses(old, new, constraints) for old, new in zip(before, after, strict=True)]
        gains = np.sort([1 - new / old if old else float(-(new > 0)) for old, new in values])
        losers = [int(machine) for machine, loses in zip(which, losing, strict=True) if loses]
        choices.append(Choice(settings, sum(new for _, new in values), gains, losers))
    most = (1 - share) * len(which) + 1e-9
    kept = [number for number, choice in enumerate(choices) if len(choice.losers) <= most]
    return Class(kind, len(which), choices, min(kept, key=lambda number: choices[number].total))


def _outcomes(rows: NDArray[np.float64]) -> list[Outcome]:
    found = map(Outcome._make, rows.tolist())
    return [each._replace(slowdown=None) if each.slowdown is None or isnan(each.slowdown) else each for each in found]


def _loses(old: Outcome, new: Outcome, constraints: Sequence[Constraint]) -> bool:
    if new.killed > old.killed:
        return True
    if not constraints:
        return new.time_lost > old.time_lost * (1 + SLOWER)
    return any(not each.is_kept(new) and value_of(new, each.name) > value_of(old, each.name) for each in constraints)
