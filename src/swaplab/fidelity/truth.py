"""The result of a scenario on a real kernel, kept as a small JSON file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from swaplab.errors import InputError
from swaplab.files import write_whole
from swaplab.linux.release import Release
from swaplab.result import Result
from swaplab.result.counters import JUDGED, JUDGED_OF_FILES
from swaplab.scenario.regular import read_regular
from swaplab.vm import Pace

__all__ = ["Series", "Truth", "read_truth", "series_of", "truth_of", "write_truth"]

Series = dict[str, dict[str, list[int | None]]]
"""Samples of each counter that there is, by cgroup (the machine's is empty); None once the cgroup was removed."""


TRUTH_BYTES_MAX = 1 << 26


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario on a real kernel, one or more times.

    Attributes:
        key: of what the guest was given to run, by `swaplab.vm.fingerprint`.
        guest: what it was made of, by `swaplab.vm.guest_version`.
        kernel: its release (uname -r).
        command: what measures it again.
        pace: how fast the machine is that it ran on.
        date: of the measurement, as ISO 8601 has it.
        positions: accesses made at each sample.
        times: of each run, nanoseconds on the guest's clock at each sample.
        runs: what was sampled in each run.
    """

    key: str
    guest: str
    kernel: str
    command: str
    pace: Pace
    date: str
    positions: list[int]
    times: list[list[int]]
    runs: list[Series]

    @property
    def release(self) -> Release:
        """The series of its kernel."""
        return Release.of_kernel(self.kernel)


def series_of(result: Result) -> Series:
    """The judged counters of a run that the engine has for each cgroup."""
    judged = JUDGED + JUDGED_OF_FILES * result.info.scenario.has_file_memory
    series: Series = {}
    for path in result.cgroups:
        samples = result.series(path)
        columns = {name: samples[name].to_pylist() for name in judged}
        series[path] = {name: values for name, values in columns.items() if values[0] is not None}
    return series


def truth_of(key: str, guest: str, runs: Sequence[Result], pace: Pace, command: str, date: str) -> Truth:
    """Return what some runs of one scenario counted."""
    return Truth(
        key=key,
        guest=guest,
        kernel=runs[0].info.release,
        command=command,
        pace=pace,
        date=date,
        positions=runs[0].series()["access"].to_pylist(),
        times=[run.series()["time_ns"].to_pylist() for run in runs],
        runs=[series_of(run) for run in runs],
    )


def write_truth(path: Path, truth: Truth) -> None:
    """Write it whole, a line for each counter."""
    text = msgspec.json.format(msgspec.json.encode(truth), indent=1).decode()
    text = re.sub(r"\[[-\d\s,nul]*\]", lambda numbers: "".join(numbers[0].split()), text)
    with write_whole(path) as partial:
        partial.write_text(text + "\n")


def read_truth(path: Path) -> Truth:
    """Read what `write_truth` wrote.

    Raises:
        InputError: not such a file.
        OSError: it cannot be read.
    """
    try:
        return msgspec.json.decode(read_regular(path, TRUTH_BYTES_MAX), type=Truth)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(path, "what swaplab fidelity --record writes", error) from None
