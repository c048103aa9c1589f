"""The layout that the replay's speed hangs on."""

from __future__ import annotations

import numpy as np
import pytest

from swaplab.replay.state import FOLIO, MEMCG, ZSPAGE, records

CACHE_LINE = 64


@pytest.mark.parametrize("dtype", [FOLIO, ZSPAGE])
@pytest.mark.parametrize("count", [1, 3, 1000, 200_000])
def test_no_record_is_in_two_cache_lines(dtype: np.dtype[np.void], count: int) -> None:
    """What malloc returns for a large array begins 16 bytes into a line, and every other folio would be in two."""
    begin = records(dtype, count).ctypes.data + dtype.itemsize * np.arange(count)
    assert (begin // CACHE_LINE == (begin + dtype.itemsize - 1) // CACHE_LINE).all()


def test_a_cgroup_is_found_by_a_shift() -> None:
    """Whoever adds a field takes it from those unused, or doubles the record."""
    assert MEMCG.itemsize.bit_count() == 1
