"""The suite: which scenarios, what kernels did with them, and what the replay says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from swaplab.cache import cached_bytes
from swaplab.errors import InputError, UnsupportedError
from swaplab.fidelity.judge import Error, errors_of, is_chaotic, is_wide
from swaplab.fidelity.truth import Truth, read_truth, series_of, truth_of
from swaplab.replay import replay
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.misses import miss_curves
from swaplab.scenario.model import Scenario, on_release_of
from swaplab.scenario.regular import found_instead
from swaplab.vm import Kernel, at_pace, digest, fingerprint, guest_pace, guest_version, run_on_kernel

__all__ = ["Judged", "judge", "measured_truth", "recorded_path", "recorded_truth", "scenario_files"]


class Judged(msgspec.Struct, frozen=True):
    """One scenario on both.

    Attributes:
        name: of its file, without the suffix.
        compressor: zswap's.
        runs: of the kernel.
        refused: why the replay cannot run it; empty if it can.
        chaotic: whether the kernel's own runs are too far apart to judge by.
        wide: whether they are judged as distributions.
        of_earlier_guest: whether they were made by a guest whose time and disk were the host's, or another than now's.
        errors: of the replay.
        lru: error in ``pgmajfault`` of an LRU cache as large as memory.max, by cgroup that has one.
    """

    name: str
    compressor: str
    runs: int
    refused: str
    chaotic: bool
    wide: bool
    of_earlier_guest: bool
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


def recorded_path(file: Path) -> Path:
    """Where the truth on a scenario is kept that ships with it."""
    return file.parent / "truth" / f"{file.stem}.json"


def recorded_truth(file: Path, scenario: Scenario) -> Truth:
    """Return the truth that ships with a scenario.

    Raises:
        InputError: there is none, it is broken, or it is of another scenario.
    """
    path = recorded_path(file)
    if found := found_instead(path):
        raise InputError(path, "what swaplab fidelity --record writes", found)
    truth = read_truth(path)
    if truth.key != fingerprint(scenario):
        raise InputError(path, f"the kernel's results of {file} as it is now", "those of another scenario")
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
        command = f"swaplab fidelity {file} --repeat {repeat} --record"
        return msgspec.json.encode(truth_of(key, guest_version(), runs, pace, command, date))

    kept = cached_bytes(f"truth-{key}-{guest_version()}-{digest(kernel.image)}-{repeat}.json", measure)
    return msgspec.json.decode(kept, type=Truth)


def judge(file: Path, scenario: Scenario, truth: Truth) -> Judged:
    """Replay a scenario at the kernel's pace, and of its release if that is modelled, and compare.

    Where runs of the kernel that start at other times are far apart, as many are replayed. The replay has no clock that
    ticks; so accesses take a nanosecond more in each than in the one before.

    Raises:
        InputError: a trace or a content is broken.
    """
    paced = at_pace(on_release_of(scenario, truth.kernel), truth.pace)
    cost, wide = truth.pace.cost, is_wide(truth)
    costs = [msgspec.structs.replace(cost, access_ns=cost.access_ns + i) for i in range(len(truth.runs) if wide else 1)]
    try:
        errors, refused = errors_of(truth, [series_of(replay(paced, each)) for each in costs]), ""
    except UnsupportedError as error:
        errors, refused = [], str(error)
    lru = _lru_errors(scenario, truth)
    return Judged(
        name=file.stem,
        compressor=scenario.zswap.compressor,
        runs=len(truth.runs),
        refused=refused,
        chaotic=is_chaotic(truth),
        wide=wide,
        of_earlier_guest=truth.guest != guest_version(),
        errors=errors,
        lru=lru,
    )


def _lru_errors(scenario: Scenario, truth: Truth) -> dict[str, float]:
    before: list[int | None] = [None] * (len(truth.positions) - 1)  # it predicts the end only
    curves = miss_curves(scenario, Accesses(scenario))
    predicted = {each.cgroup: {"pgmajfault": [*before, each.at(each.limit)]} for each in curves}
    return {error.cgroup: error.error for error in errors_of(truth, [predicted])}
