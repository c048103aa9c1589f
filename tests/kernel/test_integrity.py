"""Real threads on one machine, in small; the benchmark does a million operations."""

from __future__ import annotations

import pytest
from benchmarks.integrity import run

from swaplab.linux.release import MODELLED, Modelled


@pytest.mark.parametrize("kernel", MODELLED)
def test_threads_lose_no_byte_of_cgroups_that_come_and_go(kernel: Modelled) -> None:
    counts, stat = run(operations=1600, threads=8, cgroups=5, seed=0, kernel=kernel)
    assert counts["pages compared"] > 1000
    assert counts["renew"] > 0
    assert min(stat["zswpout"], stat["zswpin"], stat["zswpwb"], stat["pswpin"]) > 0
