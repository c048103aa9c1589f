"""The suite: which scenarios, what kernels did with them, and what the replay says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from swaplab.cache import cached_bytes
from swaplab.errors import InputError, UnsupportedError
from swaplab.fidelity.judge import Error, errors_of, is_wide
from swaplab.fidelity.truth import Truth, read_truth, series_of, truth_of
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Release
from swaplab.replay import replay
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.misses import miss_curves
from swaplab.scenario.model import Scenario, on_release_of
from swaplab.scenario.regular import found_instead
from swaplab.vm import Kernel, at_pace, digest, fingerprint, guest_pace, guest_version, run_on_kernel

__all__ = [
    "Judged",
    "judge",
    "measured_truth",
    "recorded_path",
    "recorded_releases",
    "recorded_truth",
    "replay_errors",
    "scenario_files",
]

TRUTH = "truth"
REPLAYS = 12
"""Where the kernel's own runs are far apart, so many are replayed."""


class Judged(msgspec.Struct, frozen=True):
    """One scenario on both.

    Attributes:
        name: of its file, without the suffix.
        release: the kernel's series, such as 6.12.
        compressor: zswap's.
        runs: of the kernel.
        refused: why the replay cannot run it; empty if it can.
        wide: whether the kernel's runs are judged as distributions.
        of_other_guest: whether another guest than this version's made them.
        errors: of the replay.
        lru: error in ``pgmajfault`` of an LRU cache as large as memory.max, by cgroup that has one.
    """

    name: str
    release: str
    compressor: str
    runs: int
    refused: str
    wide: bool
    of_other_guest: bool
    errors: list[Error]
    lru: dict[str, float]


def scenario_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that some paths mean: scenarios, and directories of them.

    Raises:
        InputError: a directory without scenarios.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not found:
            raise InputError(path, "a directory with scenarios (*.toml)", "none")
        files += found
    return files


def recorded_path(file: Path, release: Release) -> Path:
    """Where the truth on a scenario is kept that ships with it."""
    return file.parent / TRUTH / str(release) / f"{file.stem}.json"


def recorded_releases(file: Path) -> list[Release]:
    """Return the releases that truths on a scenario ship of, the oldest first.

    Raises:
        InputError: there is none.
    """
    found = [Release.parse(path.parent.name) for path in file.parent.glob(f"{TRUTH}/*.*/{file.stem}.json")]
    if not found:
        raise InputError(file.parent / TRUTH, f"results of {file.name} by swaplab fidelity --record", "none")
    return sorted(found)


def recorded_truth(file: Path, scenario: Scenario, release: Release) -> Truth:
    """Return the truth that ships with a scenario.

    Raises:
        InputError: there is none, it is broken, or it is of another scenario or release.
    """
    path = recorded_path(file, release)
    if found := found_instead(path):
        raise InputError(path, "what swaplab fidelity --record writes", found)
    truth = read_truth(path)
    if truth.key != fingerprint(scenario):
        raise InputError(path, f"the kernel's results of {file} as it is now", "those of another scenario")
    if truth.release != release:
        raise InputError(path, f"results of Linux {release}", f"those of {truth.kernel}")
    return truth


def measured_truth(
    file: Path,
    scenario: Scenario,
    kernel: Kernel,
    repeat: int,
    date: str,
    progress: Sequence[Callable[[int, int], None]] | None = None,
) -> Truth:
    """Return what a kernel does with a scenario, from the cache if it was there before.

    Raises:
        As `swaplab.vm.run_on_kernel`.
    """
    key = fingerprint(scenario)

    def measure() -> bytes:
        runs = run_on_kernel([scenario] * repeat, [kernel] * repeat, progress, seeds=range(repeat))
        pace = guest_pace(kernel, scenario)
        series = Release.of_kernel(runs[0].info.release)
        command = f"swaplab fidelity {file} --kernel {series} --repeat {repeat} --record"
        return msgspec.json.encode(truth_of(key, guest_version(), runs, pace, command, date))

    kept = cached_bytes(f"truth-{key}-{guest_version()}-{digest(kernel.image)}-{repeat}.json", measure)
    return msgspec.json.decode(kept, type=Truth)


def replay_errors(scenario: Scenario, truth: Truth) -> list[Error]:
    """Replay a scenario at the kernel's pace, and of its release if that is modelled, and compare.

    Where runs of the kernel that start at other times are far apart, several are replayed. The replay has nothing that
    depends on its start. So in each it has a page less than in the one before, of memory and of all limits.

    Raises:
        InputError: a trace or a content is broken.
        UnsupportedError: the replay does not model what the scenario asks for.
    """
    paced = at_pace(on_release_of(scenario, truth.kernel), truth.pace)
    replays = [
        replay(_with_less(paced, i * PAGE_SIZE), truth.pace.cost) for i in range(REPLAYS if is_wide(truth) else 1)
    ]
    return errors_of(truth, [series_of(each) for each in replays])


def _with_less(scenario: Scenario, taken: int) -> Scenario:
    """Return the same with so many bytes less of memory and of all limits on it."""
    cgroups = {
        path: replace(
            cgroup,
            memory_max=cgroup.memory_max and max(cgroup.memory_max - taken, 0),
            memory_high=cgroup.memory_high and max(cgroup.memory_high - taken, 0),
        )
        for path, cgroup in scenario.cgroups.items()
    }
    return replace(scenario, cgroups=cgroups, machine=replace(scenario.machine, memory=scenario.machine.memory - taken))


def judge(file: Path, scenario: Scenario, truth: Truth) -> Judged:
    """Compare what a kernel did with the replay, and with an LRU cache.

    Raises:
        InputError: a trace or a content is broken.
    """
    try:
        errors, refused = replay_errors(scenario, truth), ""
    except UnsupportedError as error:
        errors, refused = [], str(error)
    return Judged(
        name=file.stem,
        release=str(truth.release),
        compressor=scenario.zswap.compressor,
        runs=len(truth.runs),
        refused=refused,
        wide=is_wide(truth),
        of_other_guest=truth.guest != guest_version(),
        errors=errors,
        lru=_lru_errors(scenario, truth),
    )


def _lru_errors(scenario: Scenario, truth: Truth) -> dict[str, float]:
    before: list[int | None] = [None] * (len(truth.positions) - 1)  # it predicts the end only
    curves = miss_curves(scenario, Accesses(scenario))
    predicted = {each.cgroup: {"pgmajfault": [*before, each.at(each.limit)]} for each in curves}
    return {error.cgroup: error.error for error in errors_of(truth, [predicted])}
