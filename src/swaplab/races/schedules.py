"""Schedules in files: of executions that break, to be run again with the program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from swaplab.errors import InputError
from swaplab.explore import ProgramError, Schedule, Violated, record
from swaplab.explore.record import Recording
from swaplab.kernel.sync import KernelBug
from swaplab.races.cases import Case, Judgement, cases, fingerprint
from swaplab.scenario.regular import read_regular

__all__ = ["Again", "encode", "load", "replay"]

BYTES_MAX = 64 << 20
"""Of a file of schedules: one of 20,000 steps takes some 200 KB."""


class Breaking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What breaks a program.

    Attributes:
        target: where the program was found.
        fingerprint: of that.
        kind: of bug.
        sentence: what broke.
        schedule: how.
    """

    target: str
    fingerprint: str
    kind: str
    sentence: str
    schedule: Schedule


class Again(NamedTuple):
    """A schedule that was run again.

    Attributes:
        case: its program.
        recording: what it did.
        bug: that which the schedule is of.
    """

    case: Case
    recording: Recording
    bug: KernelBug


def encode(judged: Sequence[Judgement]) -> bytes:
    """Return a file's contents: schedules of all that breaks; none if nothing does."""
    broken = [(each.target, each.verdict.violations) for each in judged if isinstance(each.verdict, Violated)]
    prints = {target: fingerprint(target) for target in dict.fromkeys(target for target, _ in broken)}
    found = [
        Breaking(target, prints[target], violation.kind, violation.sentence, violation.schedule)
        for target, violations in broken
        for violation in violations
    ]
    return msgspec.json.encode(found) if found else b""


def load(path: Path) -> list[Breaking]:
    """Read schedules.

    Raises:
        InputError: the file is none of schedules, or cannot be read.
    """
    expected = "schedules that swaplab check -o wrote"
    try:
        found = msgspec.json.decode(read_regular(path, BYTES_MAX), type=list[Breaking])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(path, expected, error) from None
    except OSError as error:
        raise InputError(path, expected, (error.strerror or str(error)).lower()) from None
    if not found:
        raise InputError(path, expected, "none")
    return found


def replay(path: Path, breaking: Breaking, targets: Mapping[str, str]) -> Again:
    """Run a schedule of a file again.

    Args:
        path: of the file.
        breaking: what it says.
        targets: fingerprints of those it may be of.

    Raises:
        InputError: it is of none of these targets as they are now, or something else comes of it.
        ProgramError: it does not fit its program after all.
    """
    target = next((each for each, found in targets.items() if found == breaking.fingerprint), None)
    if target is None:
        raise InputError(
            path,
            f"schedules of {' or '.join(targets)} as it is now",
            f"one of {breaking.target} as it was when that was checked, which is not the same",
        )
    case = next((each for each in cases(target) if each.program.name == breaking.schedule.program), None)
    if case is None:
        raise InputError(path, f"schedules of programs in {target}", f"one of {breaking.schedule.program}")
    try:
        recording = record(case.program, breaking.schedule.choices)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from error
    bug = recording.bug(breaking.kind, breaking.sentence)
    if bug is None:
        others = "; ".join(f"{each.title}: {each}" for each in recording.bugs)
        raise InputError(
            path,
            f"schedules of what they say, as {breaking.kind}: {breaking.sentence}",
            f"one of {breaking.schedule.program} that comes to {others or 'nothing that breaks'}",
        )
    return Again(case, recording, bug)
