from __future__ import annotations

from pathlib import Path

from swaplab.host.calibrate import STEPS, measure_cost, own_pages
from swaplab.scenario.cost import Cost, load_cost


def measure(steps: list[None] | None = None) -> Cost:
    counted = steps if steps is not None else []
    return measure_cost(repetitions=3, pages=8, region_pages=1024, step=lambda: counted.append(None))


def test_a_measured_cost_is_one_that_can_be_loaded(tmp_path: Path) -> None:
    steps: list[None] = []
    cost = measure(steps)
    assert len(steps) == STEPS
    path = tmp_path / "cost.toml"
    path.write_text(cost.to_toml())
    assert load_cost(path) == cost


def test_costs_are_plausible() -> None:
    cost = measure()
    assert 1 <= cost.access_ns < cost.fault_minor_ns < cost.fault_major_ns < 10**6
    assert 1 <= cost.reclaim_page_ns < cost.fault_minor_ns
    assert "swaplab" in cost.source


def test_own_memory() -> None:
    pages = own_pages(50)
    assert 25 < len(pages) <= 50
    assert all(len(page) == 4096 and any(page) for page in pages)
    assert len(set(pages)) > 20
