"""libCacheSim's binary traces: oracleGeneral, 24 bytes a request, little-endian.

Time (seconds) and object id are kept. Object sizes are not: an object is one page. Requests are reads. The
time of the next access, which the format knows ahead, is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from swaplab.errors import InputError
from swaplab.scenario.trace.source import BATCH_ROWS, Input, RawBatch, Source, constant_stream

__all__ = ["RECORD", "read_oracle_general"]

RECORD: Final = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
_NS: Final = 1_000_000_000


def read_oracle_general(data: Input) -> Source:
    """Read requests of `data`.

    Raises:
        InputError: while reading, when the last record is not whole (names its byte offset).
    """
    return Source(_batches(data), ["requests"], with_time=True, addresses=False)


def _batches(data: Input) -> Iterator[RawBatch]:
    offset = 0
    while block := data.read(BATCH_ROWS * RECORD.itemsize):
        over = len(block) % RECORD.itemsize
        if over:
            where = f"{data.path}: byte {offset + len(block) - over}"
            raise InputError(where, f"a record of {RECORD.itemsize} bytes", f"{over} bytes")
        rows = np.frombuffer(block, RECORD)
        time = rows["time"].astype(np.int64) * _NS
        yield RawBatch(constant_stream(0, len(rows)), rows["id"].astype(np.uint64), np.zeros(len(rows), np.bool_), time)
        offset += len(block)
