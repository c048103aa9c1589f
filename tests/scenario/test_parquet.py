"""Files whose pages unpack to more than they should are refused before they are unpacked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from swaplab.errors import InputError
from swaplab.scenario.parquet import PAGE_BYTES_MAX, _pages, refuse_large_pages, row_groups

ROWS = PAGE_BYTES_MAX // 4


def write(path: Path, rows: int, **options: Any) -> None:
    table = pa.table({"a": np.zeros(rows, np.uint32), "b": np.arange(rows) % 7 == 0})
    pq.write_table(table, path, row_group_size=rows, data_page_size=1 << 30, max_rows_per_page=rows, **options)


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_small_file_with_a_large_page_is_refused(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "t.parquet"
    write(path, ROWS - 100, use_dictionary=False, compression=compression)
    refuse_large_pages(path, row_groups(path))
    write(path, ROWS, use_dictionary=False, compression=compression)
    assert path.stat().st_size < 64 << 10
    with pytest.raises(
        InputError, match=rf"{path}: byte 4: expected pages that unpack to at most 16777216 bytes, found"
    ):
        refuse_large_pages(path, row_groups(path))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("options", [{"use_dictionary": False}, {"write_statistics": False}, {}])
def test_pages_follow_one_another_to_the_end(tmp_path: Path, version: str, options: dict[str, Any]) -> None:
    """Every header is found, whatever else is in it: the last page of a column ends where the next column begins."""
    path = tmp_path / "t.parquet"
    table = pa.table({"a": np.arange(5000, dtype=np.uint32), "b": [str(n) for n in range(5000)]})
    pq.write_table(table, path, data_page_size=1000, data_page_version=version, write_page_checksum=True, **options)
    metadata = pq.read_metadata(path).row_group(0)
    first, second = metadata.column(0), metadata.column(1)
    start = first.dictionary_page_offset or first.data_page_offset
    end = start + first.total_compressed_size
    assert end == (second.dictionary_page_offset or second.data_page_offset)
    statistics = first.statistics.max.to_bytes(4, "little") if first.is_stats_set else None
    (group,) = row_groups(path)
    assert group["a"] == (start, end, statistics)
    with path.open("rb") as file:
        found = list(_pages(path, file.fileno(), start, end))
    assert len(found) > 3
    assert (
        sum(size for _, size in found)
        < first.total_uncompressed_size
        <= sum(size for _, size in found) + 100 * len(found)
    )


def test_what_is_no_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write(path, 1000, use_dictionary=False, compression="none")
    data = path.read_bytes()
    for bad in (b"\xff" * 400, b"\x1c" * 400, b"\x19\xff\xff\xff\x7f" * 80):
        path.write_bytes(data[:4] + bad + data[404:])
        with pytest.raises(InputError, match=rf"{path}: byte 4: expected (the header of a Parquet page|pages that)"):
            refuse_large_pages(path, row_groups(path))


@pytest.mark.parametrize("read", [lambda path: refuse_large_pages(path, row_groups(path)), row_groups])
def test_what_is_no_footer_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Arrow opens some of those, and ends the process when it is asked for their columns."""
    path = tmp_path / "t.parquet"
    write(path, 1000)
    data = path.read_bytes()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    choose = Random(1)  # noqa: S311
    for _ in range(500):
        damaged = bytearray(data)
        for _ in range(choose.randrange(1, 4)):
            damaged[choose.randrange(begin, len(data))] = choose.randrange(256)
        path.write_bytes(damaged)
        with suppress(InputError):
            read(path)
    for bad in (b"", b"PAR1", data[:begin] + bytes(4) + b"PAR1", data[:begin] + b"\xff\xff\xff\x7fPAR1"):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=rf"{path}: expected a Parquet file's footer, found"):
            read(path)
