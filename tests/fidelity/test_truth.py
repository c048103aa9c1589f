"""What kernels did, as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.fidelity.truth import Truth, read_truth, write_truth
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.device import DEVICES
from swaplab.vm import Pace

TRUTH = Truth(
    key="0123456789abcdef",
    guest="fedcba9876543210",
    kernel="6.12.1",
    command="swaplab fidelity a.toml --repeat 2 --record",
    pace=Pace(cost=DEFAULT_COST, device=DEVICES["ssd"]),
    date="2026-01-01",
    positions=[10, 20],
    times=[[10**9, 2 * 10**9], [10**9, 3 * 10**9]],
    runs=[
        {"": {"zswpin": [0, 5]}, "gone": {"anon": [4096, None]}},
        {"": {"zswpin": [0, 6]}, "gone": {"anon": [0, None]}},
    ],
)


def test_a_truth_comes_back(tmp_path: Path) -> None:
    write_truth(tmp_path / "a.json", TRUTH)
    assert read_truth(tmp_path / "a.json") == TRUTH


def test_each_counter_is_a_line(tmp_path: Path) -> None:
    write_truth(tmp_path / "a.json", TRUTH)
    assert '"anon": [4096,null]' in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"key": 5}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="expected what swaplab fidelity --record writes"):
        read_truth(tmp_path / "a.json")
