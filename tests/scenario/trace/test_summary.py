"""Summaries against counting by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.scenario.trace import Stream, Trace, TraceWriter
from swaplab.scenario.trace.summary import summarize

Access = tuple[int, int, bool]

ACCESS = st.tuples(st.integers(0, 1), st.integers(0, 9), st.booleans())


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ACCESS, min_size=1, max_size=90))
def test_summary(tmp_path_factory: pytest.TempPathFactory, rows: list[Access]) -> None:
    path = tmp_path_factory.mktemp("summary") / "t.parquet"
    with TraceWriter(path) as writer:
        stream, page, write = zip(*rows, strict=True)
        writer.append(np.array(stream, np.uint16), np.array(page, np.uint32), np.array(write, np.bool_))
        writer.finish([Stream("a", 10), Stream("b", 12)])
    found = summarize(Trace.open(path))
    counts = Counter(row[:2] for row in rows)
    assert (found.accesses, found.writes) == (len(rows), sum(row[2] for row in rows))
    for number, summary in enumerate(found.streams):
        own = [row for row in rows if row[0] == number]
        assert (summary.accesses, summary.writes) == (len(own), sum(row[2] for row in own))
        assert (summary.touched, summary.pages) == (len({row[1] for row in own}), 10 + 2 * number)
    part = -(-len(rows) // 20)
    parts = [rows[start : start + part] for start in range(0, len(rows), part)]
    assert found.working_set == [len({row[:2] for row in piece}) for piece in parts]
    hottest = sorted(counts.values(), reverse=True)
    assert sum(hottest[: found.hot_pages]) >= 0.9 * len(rows) > sum(hottest[: found.hot_pages - 1])
