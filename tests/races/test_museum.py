"""What is broken in the museum is found, and runs again from its schedule; what is mended holds, completely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swaplab import races
from swaplab.explore import Holds, Program, Violated, explore, record
from swaplab.kernel.sync import bugs
from swaplab.races.exhibit import Exhibit
from swaplab.races.museum import exhibits, suspects

EXHIBITS = exhibits() + suspects()
BROKEN = {f"{each.name}-{label}": (each, program) for each in EXHIBITS for label, program in each.broken.items()}
FIXED = {f"{each.name}-{label}": program for each in EXHIBITS for label, program in each.fixed.items()}
TITLES = {kind.title for kind in vars(bugs).values() if isinstance(kind, type) and issubclass(kind, bugs.KernelBug)}
EXECUTIONS_MAX = 20_000
EXHIBITS_MIN = 18


@pytest.mark.parametrize(("exhibit", "program"), BROKEN.values(), ids=BROKEN)
def test_what_was_broken_is_found(exhibit: Exhibit, program: Program[Any]) -> None:
    verdict = explore(program, executions_max=EXECUTIONS_MAX)
    assert isinstance(verdict, Violated)
    assert not verdict.limit
    assert {each.kind for each in verdict.violations} & exhibit.finds, verdict
    for each in verdict.violations:
        again = record(program, each.schedule.choices)
        assert (each.kind, each.sentence) in [(bug.title, str(bug)) for bug in again.bugs]
        assert (each.preemptions, each.fewest) == (again.preemptions, True)


@pytest.mark.parametrize("program", FIXED.values(), ids=FIXED)
def test_what_was_mended_holds(program: Program[Any]) -> None:
    verdict = explore(program, executions_max=EXECUTIONS_MAX)
    assert isinstance(verdict, Holds), verdict


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_labels_say_what_is_shown(exhibit: Exhibit) -> None:
    assert exhibit.broken
    assert exhibit.fixed
    assert exhibit.references
    assert exhibit.finds <= TITLES
    programs = [*exhibit.broken.values(), *exhibit.fixed.values()]
    assert len({program.name for program in programs}) == len(programs)
    assert all(program.name.startswith(exhibit.name) for program in programs)


def test_every_exhibit_is_found_once() -> None:
    names = [exhibit.name for exhibit in exhibits()]
    sources = [path for folder in races.__path__ for path in sorted(Path(folder).glob("*.py"))]
    assert [name.replace("-", "_") for name in names] == [
        path.stem for path in sources if "\nEXHIBIT = " in path.read_text()
    ]
    assert len(names) >= EXHIBITS_MIN
    suspected = [path.stem for path in sources if path.stem.startswith("suspect_")]
    assert [each.name.replace("-", "_") for each in suspects()] == suspected
