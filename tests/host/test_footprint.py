"""How much memory there is at once, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swaplab.host.footprint import Footprint, footprint
from swaplab.scenario.trace import RAW_EVENTS, EventKind, RawTraceWriter, Trace

Step = tuple[int, ...] | str
PARENT, CHILD, OBJECT = range(3)


def peak(path: Path, *steps: Step) -> Footprint:
    """Of writes ``"0:5"`` and reads ``"0:5r"`` of a stream's page, and events as in `RAW_EVENTS` from `event` on."""
    with RawTraceWriter(path) as writer:
        for step in steps:
            if isinstance(step, str):
                stream, page = (int(number) for number in step.rstrip("r").split(":"))
                write = np.array([not step.endswith("r")])
                writer.append(np.array([stream], np.uint16), np.array([page], np.uint64), write)
            else:
                event = np.array([(0, *step, 0)], RAW_EVENTS)
                none = np.empty(0, np.uint64)
                writer.append(none.astype(np.uint16), none, none.astype(np.bool_), events=event)
        writer.finish(path / "t.parquet", ["parent", "child", "object"])
    return footprint(Trace.open(path / "t.parquet"))


FORK = (EventKind.FORK, CHILD, 0, 3, PARENT, 0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["0:0", "0:1", "0:1", "0:2r"], (2, 0)),
        (["0:0", "0:1", (EventKind.UNMAP, PARENT, 0, 2, 0, 0), "0:5"], (2, 0)),
        (["0:0", "0:1", (EventKind.DISCARD, PARENT, 1, 1, 0, 0), "0:5", "0:1"], (3, 0)),
        (["0:0", "0:1", "0:2", FORK, "1:0r"], (3, 0)),
        (["0:0", "0:1", "0:2", FORK, "1:0", "0:0"], (4, 0)),
        (["0:0", "0:1", "0:2", FORK, "0:0", "0:1", "1:0", "1:1", "1:2", "0:2"], (6, 0)),
        (["0:0", "0:1", "0:2", FORK, (EventKind.EXIT, PARENT, 0, 0, 0, 0), "1:0", "1:5"], (4, 0)),
        (["0:0", "0:1", "0:2", FORK, "1:0", (EventKind.EXIT, CHILD, 0, 0, 0, 0), "0:4", "0:5"], (5, 0)),
        (
            [
                (EventKind.SHARE, PARENT, 8, 2, OBJECT, 0),
                (EventKind.SHARE, CHILD, 8, 2, OBJECT, 0),
                *("0:8", "1:8", "1:9", "0:0", "1:0"),
            ],
            (2, 2),
        ),
        (
            [
                *((EventKind.SHARE, PARENT, 8, 2, OBJECT, 0), "0:8", "0:9", (EventKind.UNMAP, PARENT, 8, 2, 0, 0)),
                *((EventKind.REMOVE, OBJECT, 0, 2, 0, 0), "0:0"),
            ],
            (0, 2),
        ),
    ],
)
def test_the_most_that_there_is_at_once(tmp_path: Path, steps: list[Step], expected: tuple[int, int]) -> None:
    assert peak(tmp_path, *steps) == Footprint(*expected)
