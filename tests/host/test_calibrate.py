from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swaplab.host.calibrate import Calibration, calibration, measure_cost, own_pages
from swaplab.host.timing import Key, Rounds
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.cost import load_cost

STEPS: list[None] = []


@pytest.fixture(scope="module")
def measured() -> Calibration:
    return measure_cost(rounds=3, rounds_max=3, pages=8, region_pages=1024, step=lambda: STEPS.append(None))


def test_a_measured_cost_is_one_that_can_be_loaded(tmp_path: Path, measured: Calibration) -> None:
    assert len(STEPS) == 3
    path = tmp_path / "cost.toml"
    path.write_text(measured.cost.to_toml())
    assert load_cost(path) == measured.cost


def test_costs_are_plausible(measured: Calibration) -> None:
    cost = measured.cost
    assert 1 <= cost.access_ns < cost.fault_minor_ns < cost.fault_major_ns < 10**6
    assert 1 <= cost.reclaim_page_ns < cost.fault_minor_ns
    assert "swaplab" in cost.source
    assert measured.spreads["fault_minor_ns"].median == cost.fault_minor_ns
    assert measured.spreads["compress_ns.zstd"].low <= cost.compress_ns["zstd"]


def rounds(**changed: Rounds) -> dict[Key, Rounds]:
    """Ten rounds in which nothing changes, and each compressor is slower than the one before it."""
    keys = [(f"{each}_ns", "") for each in ("access", "fault_minor", "fault_major", "reclaim_page")]
    keys += [(what, name) for what in ("compress", "decompress") for name in COMPRESSORS]
    return {key: changed.get(key[1] or key[0], np.full(10, 1000.0 * (1 + number))) for number, key in enumerate(keys)}


def test_what_is_certain_is_in_no_doubt() -> None:
    found = calibration(rounds(), 0.0)
    assert (found.rounds, found.unsteady, found.orders) == (10, [], [])
    assert found.cost.source.endswith("10 rounds that agree")


def test_a_median_that_is_not_certain_is_named() -> None:
    found = calibration(rounds(access_ns=np.array([1000.0, 1200.0] * 5)), 0.6)
    assert found.unsteady == ["access_ns"]
    assert found.cost.source.endswith("10 rounds that do not agree, a busy machine")


def test_compressors_that_change_places_are_named() -> None:
    """As lz4 and lzo do on a busy machine."""
    found = calibration(rounds(lzo=np.array([3000.0, 5000.0] * 5), lz4=np.full(10, 3900.0)), 0.0)
    assert [(each.what, each.faster, each.slower, each.share) for each in found.orders] == [
        ("compress", "lz4", "lzo", 0.5),
        ("decompress", "lz4", "lzo", 0.5),
    ]


def test_own_memory() -> None:
    pages = own_pages(50)
    assert 25 < len(pages) <= 50
    assert all(len(page) == 4096 and any(page) for page in pages)
    assert len(set(pages)) > 20
