"""A plan: the variants of one scenario that are to be run, each whole and checked before the first one runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from swaplab.linux.release import Modelled
from swaplab.policy import Policy
from swaplab.scenario.device import Device
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import Baseline, Scenario, with_baseline, with_release
from swaplab.study.vary import Axis, combinations

__all__ = ["Variant", "of_axes", "of_baselines", "of_releases", "with_seed"]


@dataclass(frozen=True)
class Variant:
    """A scenario to be run.

    Attributes:
        settings: what makes it different from the others, by key.
        seed: added to the scenario's own.
        scenario: the whole of it.
        baseline: the kind of compressed swap that it is run under; empty for its own.
        policy: asked where Linux decides by itself, if there is one.
    """

    settings: dict[str, str]
    scenario: Scenario
    seed: int = 0
    baseline: Baseline | str = ""
    policy: Policy | None = None

    @property
    def name(self) -> str:
        """What reports call it, empty for the scenario as it is."""
        return " with ".join(filter(None, [self.baseline, self.policy.name.file if self.policy else ""]))


def of_axes(
    path: Path, overrides: Sequence[str], axes: Sequence[Axis], seeds: int = 1, device: Device | None = None
) -> list[Variant]:
    """Return a variant for every combination of the axes' values and of seeds.

    Args:
        overrides: ``KEY=VALUE`` each, for all variants.
        seeds: how many; each is added to ``machine.seed``.
        device: of swap, where the file says none.

    Raises:
        InputError: the file, a key or a value is wrong; a key is varied twice; there are too many variants.
        OSError: the file cannot be read.
    """
    variants = []
    for settings, seed in combinations(axes, seeds):
        changes = [*overrides, *(f"{key}={value}" for key, value in settings.items())]
        scenario = load_scenario(path, changes, device)
        variants.append(Variant(settings, with_seed(scenario, seed), seed))
    return variants


def with_seed(scenario: Scenario, seed: int) -> Scenario:
    """Return a scenario with a number added to its seed."""
    machine = msgspec.structs.replace(scenario.machine, seed=(scenario.machine.seed + seed) % (1 << 31))
    return msgspec.structs.replace(scenario, machine=machine)


def of_releases(scenario: Scenario, releases: Sequence[Modelled]) -> list[Variant]:
    """Return the same scenario on some releases of Linux."""
    return [Variant({"machine.kernel": release}, with_release(scenario, release)) for release in releases]


def of_baselines(scenario: Scenario, baselines: Sequence[Baseline]) -> list[Variant]:
    """Return the same workloads and limits under some kinds of compressed swap.

    Raises:
        InputError: the scenario swaps to zram, and has no device that another kind could use.
    """
    return [Variant({}, with_baseline(scenario, name), baseline=name) for name in baselines]
