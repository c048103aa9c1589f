"""What sampling a running process gives: how many of its pages were referenced within how long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.files import write_whole
from swaplab.scenario.parquet import arrow_errors, open_parquet, refuse_large_pages, row_groups
from swaplab.text import from_json, to_json

__all__ = ["SAMPLES", "Attached", "Life", "read_samples", "write_samples"]

SAMPLES: Final = np.dtype(
    [
        ("life", "u4"),
        ("cycle", "u4"),
        ("level", "u2"),
        ("at", "f8"),
        ("window", "f8"),
        ("resident", "f8"),
        ("referenced", "f8"),
        ("swapped", "f8"),
    ]
)
"""One look at one process.

`life`: index into `Attached.lives`. `cycle`: what was cleared together. `level`: which of the growing windows. `at`:
seconds from the start to the end of the window. `window`: its seconds. `resident`, `referenced` and `swapped`: pages of
memory that can be swapped, of which a page that k processes map counts 1/k in each.
"""

_KEY: Final = b"swaplab.samples"
_VERSION: Final = 1


class Life(msgspec.Struct, frozen=True):
    """A program in a process: from its start, or when we came, to its end, or when we went.

    Attributes:
        pid: of the process.
        name: of the program, up to 15 bytes.
        cgroup: path below the root of the hierarchy that accounts its memory.
        start: seconds from the beginning of the recording; 0 if it ran before.
        end: likewise; None if it ran on.
        processor: seconds of processor time that it took meanwhile.
    """

    pid: int
    name: str
    cgroup: str
    start: float
    end: float | None
    processor: float


class Attached(NamedTuple):
    """A recording of what ran.

    Attributes:
        method: how pages were found to be referenced, and why so.
        seconds: how long it was.
        cost: seconds of processor time that looking took.
        lives: what was looked at.
        samples: `SAMPLES`, in order of time within each life.
    """

    method: str
    seconds: float
    cost: float
    lives: Sequence[Life]
    samples: NDArray[np.void]


class _Metadata(msgspec.Struct):
    version: int
    method: str
    seconds: float
    cost: float
    lives: list[Life]


def write_samples(path: Path, attached: Attached) -> None:
    """Write it as Parquet, for its owner alone.

    Raises:
        OSError: it cannot be written.
    """
    metadata = _Metadata(_VERSION, attached.method, attached.seconds, attached.cost, list(attached.lives))
    names = SAMPLES.names or ()
    arrays = [pa.array(attached.samples[name]) for name in names]
    fields = [pa.field(name, array.type, nullable=False) for name, array in zip(names, arrays, strict=True)]
    schema = pa.schema(fields, {_KEY: to_json(msgspec.to_builtins(metadata)).encode()})
    with write_whole(path, 0o600) as partial:
        pq.write_table(pa.table(arrays, schema=schema), partial, compression="lz4", write_page_checksum=True)


def read_samples(path: Path) -> Attached:
    """Read what `write_samples` wrote.

    Raises:
        InputError: it is something else, or damaged.
        OSError: it cannot be read.
    """
    with arrow_errors(path):
        refuse_large_pages(path, row_groups(path))
        with open_parquet(path, path) as data:
            table = pq.read_table(data, page_checksum_verification=True)
    metadata = _decoded(path, (table.schema.metadata or {}).get(_KEY))
    expected = {name: pa.from_numpy_dtype(SAMPLES[name]) for name in SAMPLES.names or ()}
    found = {field.name: field.type for field in table.schema}
    if found != expected or any(column.null_count for column in table.columns):
        raise InputError(path, f"columns {', '.join(expected)} without nulls", ", ".join(found) or "none")
    samples = np.empty(len(table), SAMPLES)
    for name in expected:
        samples[name] = table[name].to_numpy()
    _check(path, metadata, samples)
    return Attached(metadata.method, metadata.seconds, metadata.cost, metadata.lives, samples)


def _decoded(path: Path, data: bytes | None) -> _Metadata:
    try:
        metadata = msgspec.convert(from_json(data or b"null"), _Metadata)
    except (ValueError, RecursionError):
        raise InputError(path, "samples of an attached recording", "something else") from None
    if metadata.version != _VERSION:
        raise InputError(path, f"version {_VERSION} of samples", metadata.version)
    return metadata


def _check(path: Path, metadata: _Metadata, samples: NDArray[np.void]) -> None:
    """Refuse what cannot have been sampled."""
    for name in ("at", "window", "resident", "referenced", "swapped"):
        bad = ~((samples[name] >= 0) & (samples[name] < 1 << 40))  # also true of what is not a number
        if bad.any():
            row = int(bad.argmax())
            raise InputError(f"{path}: row {row + 1}: {name}", "a number from 0", samples[name][row])
    if len(samples) and samples["life"].max() >= len(metadata.lives):
        raise InputError(f"{path}: life", f"numbers below {len(metadata.lives)}", int(samples["life"].max()))
