"""Policies of one's own: what decides in the place of Linux, in a replay."""

from __future__ import annotations

from swaplab.policy.file import Policy, read_policy
from swaplab.policy.told import Cgroup, Entry, Pool

__all__ = ["Cgroup", "Entry", "Policy", "Pool", "read_policy"]
