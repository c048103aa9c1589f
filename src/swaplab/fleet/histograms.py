"""Histograms of cold memory, as fleets collect them: read in batches from CSV or Parquet.

A row is one job at one time: how many of its pages have not been touched for how long (``cold_0``, ``cold_120``, ...),
and how many pages of each such age were touched again since the row before (``promotions_120``, ...). After
Lagar-Cavilla et al., "Software-Defined Far Memory in Warehouse-Scale Computers", ASPLOS 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.parquet import arrow_errors, open_parquet, refuse_large_pages, row_groups
from swaplab.scenario.regular import open_regular
from swaplab.scenario.trace.source import Input, line_blocks

__all__ = ["Histograms", "Place", "Rows", "read_histograms"]

BINS_MAX: Final = 256
BATCH_ROWS: Final = 1 << 14
NAME_MAX: Final = 1 << 10
PAGES_MAX: Final = 1 << 40
TEXTS: Final = ("job", "machine", "class")
NUMBERS: Final = ("time", "ratio", "compressible")
_BIN: Final = re.compile(r"(cold|promotions)_(0|[1-9][0-9]{0,9})")
_ROW: Final = re.compile(r"Row #(\d+): (.*)", re.DOTALL)
_COUNT: Final = r"^[0-9]{1,18}$"
_NUMBER: Final = r"^[0-9]{1,18}(\.[0-9]{1,18})?$"


Values = TypeVar("Values", NDArray[np.int64], NDArray[np.float64])


class Place(NamedTuple):
    """Rows of a file: the first one's number, and whether that counts lines or rows."""

    path: Path
    what: str
    first: int

    def error(self, row: int, column: str, expected: str, found: object) -> InputError:
        """Blame a cell."""
        return InputError(f"{self.path}: {self.what} {self.first + row}: {column}", expected, found)


class Rows(NamedTuple):
    """Some rows, in order.

    Attributes:
        job: names, of shape ``(n,)``; machine and class likewise, empty where the file has no such column.
        machine: see job.
        kind: the class.
        time: seconds, float64 of shape ``(n,)``.
        cold: pages by age, int64 of shape ``(n, bins)``; the first bin is the working set.
        promotions: pages touched again by their age until then, int64 of shape ``(n, bins - 1)``.
        ratio: that compressible pages are compressed by, float64 of shape ``(n,)``; NaN where it is not told.
        compressible: share of the pages, likewise.
        place: of the first row in its file, for errors.
    """

    job: list[str]
    machine: list[str]
    kind: list[str]
    time: NDArray[np.float64]
    cold: NDArray[np.int64]
    promotions: NDArray[np.int64]
    ratio: NDArray[np.float64]
    compressible: NDArray[np.float64]
    place: Place


class Histograms(NamedTuple):
    """A file of them.

    Attributes:
        ages: seconds at which each bin of `Rows.cold` begins, ascending from 0.
        rows: all of it, once.
    """

    ages: list[int]
    rows: Iterator[Rows]


@contextmanager
def read_histograms(path: Path) -> Iterator[Histograms]:
    """Open a file; what its rows hold is checked as they are read.

    Raises:
        InputError: a column is missing, unknown or there twice, a cell is not what it has to be, or it is damaged.
        OSError: it cannot be read.
    """
    with open_regular(path, path) as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet:
        yield _read_parquet(path)
    else:
        with Input(path) as data:
            yield _read_csv(path, data)


# Columns --------------------------------------------------------------------------------------------------------------


def _ages(names: Sequence[str], where: str) -> list[int]:
    """Check the names of the columns, and return the ages at which bins begin."""
    for name in names:
        if names.count(name) > 1:
            raise InputError(where, "each column once", f"{name} twice")
        if name not in TEXTS + NUMBERS and not _BIN.fullmatch(name):
            expected = f"columns {', '.join(TEXTS + NUMBERS)}, cold_SECONDS and promotions_SECONDS"
            raise InputError(where, expected, repr(name[:NAME_MAX]))
    for name in ("job", "time", "cold_0"):
        if name not in names:
            raise InputError(where, f"a column {name}", ", ".join(names)[:NAME_MAX])
    ages = sorted(int(name.removeprefix("cold_")) for name in names if name.startswith("cold_"))
    if not 2 <= len(ages) <= BINS_MAX:
        raise InputError(where, f"2 to {BINS_MAX} columns cold_SECONDS", len(ages))
    expected_names = {f"promotions_{age}" for age in ages[1:]}
    for name in sorted(expected_names ^ {name for name in names if name.startswith("promotions_")}):
        found = f"{name} without that" if name in names else f"no {name}"
        raise InputError(where, "a column promotions_SECONDS for each cold_SECONDS but cold_0", found)
    return ages


def _rows(table: pa.Table, ages: Sequence[int], place: Place) -> Rows:
    def texts(name: str) -> list[str]:
        return _texts(table, name, place) if name in table.column_names else [""] * len(table)

    def floats(name: str, least: float, most: float) -> NDArray[np.float64]:
        if name not in table.column_names:
            return np.full(len(table), np.nan)
        return _floats(table, name, least, most, place)

    def counts(names: list[str]) -> NDArray[np.int64]:
        return np.column_stack([_counts(table, name, place) for name in names])

    return Rows(
        texts("job"),
        texts("machine"),
        texts("class"),
        floats("time", 0, 1e15),
        counts([f"cold_{age}" for age in ages]),
        counts([f"promotions_{age}" for age in ages[1:]]),
        floats("ratio", 1, 4096),
        floats("compressible", 0, 1),
        place,
    )


def _texts(table: pa.Table, name: str, place: Place) -> list[str]:
    found: list[str] = table[name].to_pylist()
    for row, text in enumerate(found):
        if not isinstance(text, str) or not text or len(text) > NAME_MAX or not text.isprintable():
            raise place.error(row, name, f"a name of 1 to {NAME_MAX} printable characters", repr(text)[:NAME_MAX])
    return found


def _counts(table: pa.Table, name: str, place: Place) -> NDArray[np.int64]:
    expected = f"a number of pages, below {PAGES_MAX}"
    column = _converted(table[name], name, pa.int64(), _COUNT, expected, place)
    values: NDArray[np.int64] = column.to_numpy()
    return _within(values, name, 0, PAGES_MAX - 1, expected, place)


def _floats(table: pa.Table, name: str, least: float, most: float, place: Place) -> NDArray[np.float64]:
    expected = f"a number from {least:g} to {most:g}"
    column = _converted(table[name], name, pa.float64(), _NUMBER, expected, place)
    values: NDArray[np.float64] = column.to_numpy()
    return _within(values, name, least, most, expected, place)


def _converted(
    column: pa.ChunkedArray, name: str, kind: pa.DataType, pattern: str, expected: str, place: Place
) -> pa.Array:
    """Return a column as numbers; texts, which CSV has, have to look like some."""
    array = column.combine_chunks()
    if pa.types.is_string(array.type):
        bad = pc.invert(pc.match_substring_regex(array, pattern))
    else:
        is_number = pa.types.is_integer(array.type) or (pa.types.is_floating(array.type) and kind == pa.float64())
        bad = array.is_null() if is_number else pa.repeat(True, len(array))
    if (row := pc.index(bad, True).as_py()) >= 0:
        raise place.error(row, name, expected, repr(array[row].as_py())[:NAME_MAX])
    return array.cast(kind, safe=False)


def _within(values: Values, name: str, least: float, most: float, expected: str, place: Place) -> Values:
    bad = ~((values >= least) & (values <= most))  # also true of what is not a number
    if bad.any():
        row = int(bad.argmax())
        raise place.error(row, name, expected, values[row])
    return values


# Files ----------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, data: Input) -> Histograms:
    blocks = line_blocks(data)
    _, text = next(blocks, (1, b""))
    head, _, rest = text.partition(b"\n")
    names = [name.strip().strip('"') for name in head.decode(errors="replace").strip("\r").split(",")]
    ages = _ages(names, f"{path}: line 1")

    def rows() -> Iterator[Rows]:
        yield from _csv_rows(path, 2, rest, names, ages)
        for line, more in blocks:
            yield from _csv_rows(path, line, more, names, ages)

    return Histograms(ages, rows())


def _csv_rows(path: Path, line: int, text: bytes, names: list[str], ages: list[int]) -> Iterator[Rows]:
    """Yield what a block of whole lines holds."""
    if not text.strip():
        return
    lines = text.split(b"\n")
    place = Place(path, "line", line)
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(text) + 1),
            pa_csv.ParseOptions(ignore_empty_lines=False),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        row = _ROW.search(str(error))
        at = int(row[1]) - 1 if row else 0
        raise InputError(
            f"{path}: line {line + at}", f"{len(names)} columns of UTF-8 text", _shown(lines, at)
        ) from None
    yield _rows(table, ages, place)


def _shown(lines: list[bytes], at: int) -> str:
    return repr(lines[at].decode(errors="replace")[:80]) if at < len(lines) else "something else"


def _read_parquet(path: Path) -> Histograms:
    with arrow_errors(path):
        with open_parquet(path, path) as data, pq.ParquetFile(data) as file:
            ages = _ages(file.schema_arrow.names, str(path))
        refuse_large_pages(path, row_groups(path))

    def rows() -> Iterator[Rows]:
        first = 1
        with arrow_errors(path), open_parquet(path, path) as data, pq.ParquetFile(data) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield _rows(pa.Table.from_batches([batch]), ages, Place(path, "row", first))
                first += len(batch)

    return Histograms(ages, rows())
