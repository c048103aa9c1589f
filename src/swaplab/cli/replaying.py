"""Shared parts of the commands that replay a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import tell
from swaplab.errors import InputError
from swaplab.replay import is_compiled
from swaplab.scenario.cost import DEFAULT_COST, Cost, load_cost
from swaplab.scenario.model import Scenario
from swaplab.scenario.shipped import shipped
from swaplab.study.cluster import cluster as connect
from swaplab.study.run import Map, processes, processors

__all__ = [
    "ClusterAddress",
    "Jobs",
    "PolicyFile",
    "chosen_cost",
    "mapping",
    "read_for",
    "say_if_it_compiles",
    "scenario_file",
]

Jobs = Annotated[int | None, Parameter(alias="-j", validator=Number(gte=1, lte=1024))]
"""How many processes replay; None for as many as there are processors."""

PolicyFile = Annotated[Path | None, Parameter(name="--policy")]
"""A file with functions that decide in the place of Linux: see `swaplab.policy`."""

ClusterAddress = Annotated[str | None, Parameter(name="--cluster")]
"""Where to replay instead: see `swaplab.study.cluster`."""


@contextmanager
def mapping(jobs: int | None, cluster: str | None, variants: int) -> Iterator[Map]:
    """Yield what runs so many variants: processes of this machine, or a cluster.

    Raises:
        InputError: both were asked for; or see `swaplab.study.cluster`.
        SwaplabError: see there.
    """
    if jobs and cluster:
        raise InputError("--jobs", "none beside --cluster", jobs)
    if not cluster:
        with processes(min(jobs or processors(), variants)) as mapped:
            yield mapped
        return
    with connect(cluster) as found:
        if found.dashboard:
            tell(f"swaplab: Dask's dashboard is at {found.dashboard}, if bokeh is installed there")
        yield found.mapped


def scenario_file(path: Path) -> Path:
    """Return the file that a path means: itself, one that ships, or the scenario of a recording's directory.

    Raises:
        InputError: a directory that is no recording.
    """
    found = shipped(path)
    if not found.is_dir():
        return found
    scenario = found / "scenario.toml"
    if not scenario.exists():
        raise InputError(str(path), "a scenario's file, or a directory that `swaplab record` made", "another directory")
    return scenario


def read_for(path: Path, scenario: Scenario, cost: Path | None) -> list[Path]:
    """Return the files that are read to replay a scenario, which came from `path`."""
    return [scenario_file(path), *(scenario.base / name for name in scenario.files()), *([cost] if cost else [])]


def chosen_cost(path: Path | None) -> Cost:
    """Return what things cost: what a file says, or what is the default.

    Raises:
        InputError: not a cost file.
        OSError: it cannot be read.
    """
    return load_cost(path) if path else DEFAULT_COST


def say_if_it_compiles(scenarios: Iterable[Scenario]) -> None:
    """Say why nothing happens for a while, where the replay of a release has to be compiled first."""
    if not all(map(is_compiled, scenarios)):
        tell("swaplab: compiling the replay; this happens once and takes about half a minute")
