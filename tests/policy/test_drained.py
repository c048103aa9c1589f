"""A published incident, scaled down: the shrinker drains an idle cgroup's pool; a floor keeps it."""

from __future__ import annotations

import re
from pathlib import Path

from swaplab.policy import Policy
from swaplab.replay import replay
from swaplab.result import Result
from swaplab.scenario.load import load_scenario

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/policy.md").read_text()
DRAINED = load_scenario(ROOT / "scenarios/drained.toml")
MIB = 1 << 20


def pools(result: Result) -> dict[str, tuple[float, float]]:
    """The largest and the last size of each cgroup's compressed memory, MiB."""
    found = {cgroup: result.series(cgroup)["zswap"].to_pylist() for cgroup in ("idle", "busy")}
    return {cgroup: (round(max(sizes) / MIB, 1), round(sizes[-1] / MIB, 1)) for cgroup, sizes in found.items()}


def shown(table: dict[str, tuple[float, float]]) -> str:
    return "; ".join(f"`{cgroup}` {largest} MiB, then {last} MiB" for cgroup, (largest, last) in table.items())


def test_the_idle_cgroup_is_drained_and_a_floor_keeps_it() -> None:
    (floor,) = re.findall(r"^```python\n(FLOOR.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    linux, floored = pools(replay(DRAINED)), pools(replay(DRAINED, policy=Policy("floor.py", floor.encode())))
    assert linux["idle"][0] > 8
    assert linux["idle"][1] == 0
    assert linux["busy"][1] > linux["busy"][0] / 2
    assert floored["idle"][1] == 4
    assert f"| Linux 7.2 | {shown(linux)} |" in GUIDE
    assert f"| with the floor | {shown(floored)} |" in GUIDE
