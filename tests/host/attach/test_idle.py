from __future__ import annotations

import numpy as np
import pytest
from tests.host.attach.fake_kernel import FakeKernel, FakeProcess

from swaplab.errors import InputError
from swaplab.host.attach.idle import find_idle


def process(pages: int, used: int, end: float = 1e9) -> FakeProcess:
    return FakeProcess(np.linspace(0, 60, 600), np.arange(600) % used, pages, end=end)


def test_what_is_not_used_is_idle_by_cgroup() -> None:
    kernel = FakeKernel({5: process(100, 30), 6: process(50, 50), 7: process(9, 9, end=20)})
    (found,) = find_idle(kernel.choose(), 40, kernel)
    assert (found.cgroup, found.resident, found.idle) == ("/app", 150, 70)
    assert found.seconds == pytest.approx(40, abs=0.01)


def test_a_signal_ends_the_wait() -> None:
    kernel = FakeKernel({5: process(100, 30)}, signal_at=2.0)
    (found,) = find_idle(kernel.choose(), 600, kernel)
    assert found.seconds == pytest.approx(2.0, abs=0.01)
    assert found.idle == 80  # of the thirty, twenty were used until then


def test_who_may_not_be_looked_at_is_left_out() -> None:
    kernel = FakeKernel({5: process(100, 30), 6: process(50, 50)})
    kernel.refused = {6}
    (found,) = find_idle(kernel.choose(), 40, kernel)
    assert found.resident == 100
    kernel.refused = {5, 6}
    with pytest.raises(InputError, match="--cold: expected a process that this user may look at"):
        find_idle(kernel.choose(), 40, kernel)
