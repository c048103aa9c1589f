"""Every file may have a name that is not UTF-8, on file systems with and without files that have none yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from swaplab.result import SCHEMA, Result, RunInfo
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.profile import read_profile, write_profile
from swaplab.scenario.trace import Stream, Trace, TraceWriter

SCENARIO = "[[workload]]\npages = 1\n"


def _trace(path: Path) -> int:
    with TraceWriter(path) as writer:
        writer.append(np.zeros(3, np.uint16), np.arange(3, dtype=np.uint32), np.ones(3, np.bool_))
        writer.finish([Stream("a", pages=3)], source="made up")
    return sum(len(chunk.page) for chunk in Trace.open(path).chunks())


def _profile(path: Path) -> int:
    write_profile(path, np.ones((3, 4096), np.uint8), np.ones(3, np.int64), "made up")
    return len(read_profile(path, "x").pages)


def _result(path: Path) -> int:
    rows = [dict.fromkeys(SCHEMA.names, 0) | {"cgroup": ""}] * 3
    info = RunInfo(engine="replay", release="6.12", scenario=parse_scenario(SCENARIO, "s", path), accesses=1)
    Result(info, pa.Table.from_pylist(rows, SCHEMA)).write(path)
    return len(Result.read(path).samples)


@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("write_and_read", [_trace, _profile, _result])
def test_a_name_may_be_any_bytes(
    write_and_read: Callable[[Path], int], is_named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_named:
        monkeypatch.setattr("swaplab.files._unnamed", lambda *_: None)
    directory = tmp_path / os.fsdecode(b"\xff\xfe,\x1b]0;x")
    directory.mkdir()
    assert write_and_read(directory / os.fsdecode(b"s3:\xff")) == 3
    assert len(list(directory.iterdir())) == 1
