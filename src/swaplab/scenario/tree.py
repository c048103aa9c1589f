"""The tree of cgroups: the order in which it is walked, and where in it processes live."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from swaplab.scenario.model import Scenario

__all__ = ["LEAF", "leaves", "parent_of", "parents", "pre_order"]

LEAF: Final = ".swaplab"
"""Name of a cgroup for the processes of one that has children."""


def parent_of(path: str) -> str:
    """The cgroup above one that is not the root."""
    return path.rpartition("/")[0]


def parents(cgroups: Iterable[str]) -> set[str]:
    """The cgroups that have others below, but for the root."""
    return {parent_of(path) for path in cgroups if path} - {""}


def pre_order(cgroups: Iterable[str]) -> list[str]:
    """Paths as css_next_descendant_pre() visits them, the root's (empty) first; siblings in the order given.

    Args:
        cgroups: with all that are above them.
    """
    children: dict[str, list[str]] = {"": []}
    for path in filter(None, cgroups):
        children.setdefault(path, [])
        children.setdefault(parent_of(path), []).append(path)
    order, stack = [], [""]
    while stack:
        path = stack.pop()
        order.append(path)
        stack.extend(reversed(children[path]))
    return order


def leaves(scenario: Scenario) -> dict[str, str]:
    """Where the processes of a cgroup live that has children as well: in a leaf, made after those.

    Linux lets no cgroup but the root have both (kernel/cgroup/cgroup.c:cgroup_migrate_vet_dst, 6.12), and reclaim walks
    a leaf, unlike its parent, after the others. Cgroups that never have a process have no leaf.
    """
    moved_to = {parent_of(event.cgroup) for event in scenario.events if event.remove}
    peopled = moved_to | {workload.cgroup for workload in scenario.workloads}
    return {path: f"{path}/{LEAF}" for path in sorted(parents(scenario.cgroups) & peopled)}
