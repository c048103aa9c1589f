"""The result of a run on any engine: the kernel's counters per cgroup, sampled along the way.

`Result.samples` is an Arrow table, one row per sample and cgroup (``""`` is the root: the machine). Its columns are
``access``, accesses made so far, ``time_ns``, on the engine's clock, and ``cgroup``, the path; then int64 for each of
`swaplab.result.counters.COUNTERS`:

- events are counted since the start, of the cgroup and all below, as ``memory.stat`` and ``memory.events`` have them.
  The replay has ``pswpin``, ``pswpout``, ``swpin_zero`` and ``swpout_zero`` per cgroup as well, which 6.12 has not. The
  six times are what the cgroup's tasks spent: compressing, decompressing, waiting for the device, scanning, faulting,
  throttled.
- levels are what there is now, of the cgroup and all below
- zswap's debugfs and the free memory are in the root's rows; null elsewhere
- what the engine or the kernel does not count is null
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.files import write_whole
from swaplab.linux.page import PAGE_SIZE
from swaplab.notebook import Shown
from swaplab.result.counters import BY_NAME, TIMES
from swaplab.result.run import RunInfo, decode_info, encode_info
from swaplab.scenario.parquet import open_parquet, refuse_large_pages, row_groups

__all__ = ["SCHEMA", "Result", "Row"]

PLACE = pa.schema([("access", pa.int64()), ("time_ns", pa.int64()), ("cgroup", pa.string())])
SCHEMA = pa.schema([*PLACE, *((name, pa.int64()) for name in BY_NAME)])
METADATA_KEY = b"swaplab.result"


class Row(dict[str, Any]):
    """One sample of one cgroup by column name, and what follows from it.

    Attributes:
        zram: whether the swap device is memory, which ``pswpin`` and ``pswpout`` then count.
    """

    def __init__(self, values: dict[str, Any], zram: bool) -> None:
        super().__init__(values)
        self.zram = zram

    @property
    def time_lost(self) -> int:
        """Nanoseconds that tasks would not have spent with memory to spare."""
        return sum(self[name] for name in TIMES)

    @property
    def held(self) -> int:
        """Bytes that a cgroup has in memory and has swapped, by which it is ranked."""
        return int(self["memory.current"]) + int(self["memory.swap.current"])

    @property
    def disk_reads(self) -> int:
        """Pages read from a device that is not memory."""
        return 0 if self.zram else int(self["pswpin"])

    @property
    def disk_writes(self) -> int:
        """Pages written to a device that is not memory."""
        return 0 if self.zram else int(self["pswpout"])

    @property
    def compressed_faults(self) -> int:
        """Faults that compressed memory served: zswap or zram."""
        return int(self["pswpin"] if self.zram else self["zswpin"])

    @property
    def compressed_pages(self) -> int:
        """Bytes of the pages that compressed memory holds."""
        return int(self.get("stored_pages", 0)) * PAGE_SIZE if self.zram else int(self["zswapped"])

    @property
    def compressed_bytes(self) -> int:
        """Bytes that they take there; the pool's whole pages in the machine's row, the cgroup's bytes in others."""
        return int(self.get("pool_total_size", self["zswap"]))


class Result(Shown):
    """Counters of one run. A notebook shows it as a report; libraries that take Arrow get its samples.

    Attributes:
        info: what was run, and on what.
        samples: Arrow table of `SCHEMA`, ordered by sample, then cgroup in pre-order. Read from a file, it has the
            counters behind it that this swaplab does not know, and null for those that the file has not.
    """

    def __init__(self, info: RunInfo, samples: pa.Table) -> None:
        self.info = info
        self.samples = samples

    @property
    def cgroups(self) -> list[str]:
        """Paths in pre-order; the root's is empty."""
        return list(self._rows)

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.int64]]:
        """The rows of each cgroup, in order; cgroups as they come."""
        coded = self.samples["cgroup"].combine_chunks().dictionary_encode()
        codes = coded.indices.to_numpy()
        ends = np.cumsum(np.bincount(codes, minlength=len(coded.dictionary)))
        rows = np.split(np.argsort(codes, kind="stable"), ends[:-1])
        return dict(zip(coded.dictionary.to_pylist(), rows, strict=True))

    @cached_property
    def _finals(self) -> dict[str, dict[str, Any]]:
        """The last sample of each cgroup."""
        last = self.samples.take(pa.array([rows[-1] for rows in self._rows.values()], pa.int64()))
        return dict(zip(self._rows, last.to_pylist(), strict=True))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the samples to another library, without a copy: the PyCapsule interface of Arrow."""
        return self.samples.__arrow_c_stream__(requested_schema)

    def series(self, cgroup: str = "") -> pa.Table:
        """Return the samples of one cgroup, in order."""
        return self.samples.take(pa.array(self._rows.get(cgroup, []), pa.int64()))

    def final(self, cgroup: str = "") -> Row:
        """Return the last sample of one cgroup by column name.

        Raises:
            KeyError: no such cgroup.
        """
        row = self._finals[cgroup]
        return Row({name: value for name, value in row.items() if value is not None}, self.info.zram)

    def slowdown(self, cgroup: str = "") -> float | None:
        """Return how much longer than with all their memory the tasks of a cgroup and below take, as a share.

        That is the time lost over `RunInfo.own_times`; None where that is not known, or time lost is not counted.
        """
        own = self.info.own_times.get(cgroup)
        return self.final(cgroup).time_lost / own.ns if own else None

    def write(self, path: Path) -> None:
        """Write a Parquet file, whole."""
        metadata = {METADATA_KEY: encode_info(self.info)}
        with write_whole(path) as partial:
            pq.write_table(self.samples.replace_schema_metadata(metadata), partial, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a file of `write`, with all its counters.

        Raises:
            InputError: not such a file.
            OSError: it cannot be read.
        """
        try:
            with open_parquet(path, path) as data, pq.ParquetFile(data) as file:
                schema = file.schema_arrow
                info = decode_info((schema.metadata or {})[METADATA_KEY])
                if not _is_of_samples(schema):
                    raise InputError(path, "the columns of a result", ", ".join(schema.names)[:200])
                refuse_large_pages(path, row_groups(path))
                table = file.read()
        except (pa.ArrowException, OSError, KeyError, ValueError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(path, "a result written by swaplab", error) from None
        return cls(info, _with_all_counters(table.replace_schema_metadata(None)))


def _is_of_samples(schema: pa.Schema) -> bool:
    """Whether a table says where and when, and has counters beside that, each once."""
    names, others = schema.names, list(schema)[len(PLACE) :]
    is_placed = pa.schema(list(schema)[: len(PLACE)]).equals(PLACE)
    return is_placed and len({*names}) == len(names) and all(each.type == pa.int64() for each in others)


def _with_all_counters(table: pa.Table) -> pa.Table:
    """Order a table's columns as `SCHEMA` does, with null for what is missing, and others last."""
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    for name in missing:
        table = table.append_column(name, pa.nulls(len(table), pa.int64()))
    others = [name for name in table.column_names if name not in SCHEMA.names]
    return table.select([*SCHEMA.names, *others])
