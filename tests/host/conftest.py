"""Programs with known page accesses, compiled once, and their recordings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from swaplab.host.record import Recording, record
from swaplab.scenario.trace import Trace

REGION = 0x700000000000 >> 12
SOURCE = Path(__file__).with_name("programs.c")


class Recorded(NamedTuple):
    summary: Recording
    directory: Path

    def streams(self) -> dict[str, list[str]]:
        """Accesses to the region in order, as `walk` takes them, of each stream that has any."""
        found: dict[str, list[str]] = {}
        for name, access in self.accesses():
            found.setdefault(name, []).append(access)
        return found

    def walk(self) -> list[str]:
        """Accesses to the region, of all streams in order."""
        return [access for _, access in self.accesses()]

    def accesses(self) -> Iterator[tuple[str, str]]:
        trace = Trace.open(self.directory / "trace.parquet")
        addresses = [
            np.concatenate([np.arange(first, first + pages) for first, pages in stream.ranges or [(0, 0)]])
            for stream in trace.info.streams
        ]
        for chunk in trace.chunks():
            for stream, page, write in zip(chunk.stream, chunk.page, chunk.write, strict=True):
                offset = addresses[stream][page] - REGION
                if 0 <= offset < 1 << 20:
                    yield trace.info.streams[stream].name, f"{'w' if write else 'r'}{offset}"


Record = Callable[..., Recorded]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("programs") / "programs"
    subprocess.run(["cc", "-O1", "-pthread", "-o", program, SOURCE], check=True)  # noqa: S603, S607
    return program


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def recorded(programs: Path, tmp_path: Path) -> Record:
    """Record one of the programs."""

    def run(*arguments: str, window: int = 64, sample_pages: int = 16) -> Recorded:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        summary = record([str(programs), *arguments], out, window=window, sample_pages=sample_pages)
        return Recorded(summary, out)

    return run
