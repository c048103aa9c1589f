"""Content profiles: sampled pages of a real program, each with the number of resident pages it stands for.

A profile is a Parquet file with the columns `data` (fixed_size_binary(4096)) and `weight` (int64), and
metadata under the key ``swaplab.profile``: JSON with version, source and pages, the sum of the weights. It
holds raw memory, so only its owner may read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.files import write_whole
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.pages import SAMPLES_MAX
from swaplab.scenario.parquet import open_parquet, refuse_large_pages, row_groups
from swaplab.scenario.regular import found_instead
from swaplab.text import to_json

__all__ = ["PROFILE_SAMPLES_MAX", "Profile", "read_profile", "write_profile"]

PROFILE_SAMPLES_MAX: Final = 65536
METADATA_KEY: Final = b"swaplab.profile"
VERSION: Final = 1
WEIGHT_MAX: Final = 1 << 40  # pages; keeps the sum of the weights far from the end of int64
SCHEMA: Final = pa.schema([("data", pa.binary(PAGE_SIZE)), ("weight", pa.int64())])
ROWS: Final = 1024  # read at a time: 4 MiB


class _Metadata(msgspec.Struct):
    version: int
    source: str
    pages: int


class Profile(NamedTuple):
    """Contents of a profile's pages, ready to draw from.

    Attributes:
        zero_weight: share of the pages that are all zeros, 0..1. pages: uint8[n, 4096], n <= 4096: samples
        of the other pages, to be drawn from evenly. A sample that stands for
            more pages is there more often.
        source: where the profile comes from, as its writer says.
    """

    zero_weight: float
    pages: NDArray[np.uint8]
    source: str


def write_profile(path: Path, data: NDArray[np.uint8], weights: NDArray[np.int64], source: str) -> None:
    """Write a profile, whole, with mode 0600.

    Args:
        path: the file.
        data: uint8[n, 4096], sampled pages, 1 <= n <= 65,536.
        weights: int64[n], how many resident pages each stands for, 1..2**40.
        source: where they come from, for people.

    Raises:
        ValueError: an argument is not that.
        OSError: the file cannot be written.
    """
    if data.ndim != 2 or data.shape[1] != PAGE_SIZE or data.dtype != np.uint8:
        raise ValueError(f"data is uint8[n, {PAGE_SIZE}], this is {data.dtype}{list(data.shape)}")
    if not 1 <= len(data) <= PROFILE_SAMPLES_MAX:
        raise ValueError(f"a profile has 1..{PROFILE_SAMPLES_MAX} samples, this has {len(data)}")
    if weights.shape != (len(data),) or weights.min() < 1 or weights.max() > WEIGHT_MAX:
        raise ValueError(f"there is a weight in 1..{WEIGHT_MAX} for every sample")
    metadata = to_json(_Metadata(VERSION, source, int(weights.sum()))).encode()
    buffer = pa.py_buffer(np.ascontiguousarray(data))
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(PAGE_SIZE), len(data), [None, buffer])
    table = pa.Table.from_arrays(
        [column, pa.array(weights, pa.int64())], schema=SCHEMA.with_metadata({METADATA_KEY: metadata})
    )
    with write_whole(path, 0o600) as partial:
        pq.write_table(
            table,
            partial,
            row_group_size=ROWS,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )


@contextmanager
def _input_errors(where: object) -> Iterator[None]:
    """Turn what Arrow raises about a broken file (OSError among it) into InputError."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(where, "a content profile", str(error).splitlines()[0]) from None


def _check(file: pq.ParquetFile, where: object) -> _Metadata:
    """Check everything that the metadata says before any page is read."""
    if not file.schema_arrow.remove_metadata().equals(SCHEMA):
        raise InputError(where, "columns data: binary(4096), weight: int64", _columns(file.schema_arrow))
    rows = sum(file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups))
    if not 1 <= rows <= PROFILE_SAMPLES_MAX:
        raise InputError(where, f"1 to {PROFILE_SAMPLES_MAX} samples", rows)
    described = (file.metadata.metadata or {}).get(METADATA_KEY)
    if described is None:
        raise InputError(where, f"metadata under {METADATA_KEY.decode()}", "none")
    try:
        metadata = msgspec.json.decode(described, type=_Metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: {METADATA_KEY.decode()}", "version, source and pages", error) from None
    if metadata.version != VERSION:
        raise InputError(f"{where}: {METADATA_KEY.decode()}", f"version {VERSION}", metadata.version)
    return metadata


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _data(file: pq.ParquetFile, where: object) -> Iterator[NDArray[np.uint8]]:
    """Yield the pages in order: uint8[k, 4096] each time, k <= 1024."""
    for batch in file.iter_batches(ROWS, columns=["data"]):
        column = batch.column(0)
        if column.null_count:
            raise InputError(where, "no nulls in column data", column.null_count)
        size, offset = len(column) * PAGE_SIZE, column.offset * PAGE_SIZE
        yield np.frombuffer(column.buffers()[1], np.uint8, size, offset).reshape(-1, PAGE_SIZE)


def _weights(file: pq.ParquetFile, where: object) -> NDArray[np.int64]:
    column = file.read(columns=["weight"]).column(0)
    weights = column.to_numpy() if not column.null_count else np.zeros(1, np.int64)
    bad = np.flatnonzero((weights < 1) | (weights > WEIGHT_MAX))
    if bad.size:
        raise InputError(f"{where}: row {bad[0]}", f"a weight in 1..{WEIGHT_MAX}", weights[bad[0]])
    return np.asarray(weights, np.int64)


def _draw(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose up to 4096 samples so that each is there in proportion to its weight: their numbers, in order.

    Every 1/4096 of the total weight gets the sample at its middle. Equal weights of few samples need no
    drawing.
    """
    if len(weights) <= SAMPLES_MAX and len(np.unique(weights)) <= 1:
        return np.arange(len(weights))
    middles = (np.arange(SAMPLES_MAX) + 0.5) * (float(weights.sum()) / SAMPLES_MAX)
    return np.searchsorted(np.cumsum(weights), middles, side="right")


def _pick(file: pq.ParquetFile, where: object, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read the pages of the given rows, which are in order and may repeat."""
    picked, start = [np.empty((0, PAGE_SIZE), np.uint8)], 0
    for pages in _data(file, where):
        low, high = np.searchsorted(rows, [start, start + len(pages)])
        picked.append(pages[rows[low:high] - start])
        start += len(pages)
    return np.concatenate(picked)


def read_profile(path: Path, where: object) -> Profile:
    """Read a profile. Zero pages keep their exact share; of the others, up to 4096 are drawn by weight.

    Args:
        path: the file.
        where: file and key that name it, for errors.

    Raises:
        InputError: not a profile, damaged, too many samples, a weight out of range.
    """
    where = f"{where}: {path}"
    if found := found_instead(path):
        raise InputError(where, "a content profile", found)
    with (
        _input_errors(where),
        open_parquet(path, where) as data,
        pq.ParquetFile(data, page_checksum_verification=True) as file,
    ):
        metadata = _check(file, where)
        refuse_large_pages(path, row_groups(path))
        weights = _weights(file, where)
        is_zero = np.concatenate([~pages.any(axis=1) for pages in _data(file, where)])
        total = int(weights.sum())
        if not len(weights) == len(is_zero) == file.metadata.num_rows or total != metadata.pages:
            raise InputError(
                where,
                f"{metadata.pages} pages in {file.metadata.num_rows} rows",
                f"{total} in {len(is_zero)}",
            )
        others = np.flatnonzero(~is_zero)
        pages = _pick(file, where, others[_draw(weights[others])])
        return Profile(int(weights[is_zero].sum()) / total, pages, metadata.source)
