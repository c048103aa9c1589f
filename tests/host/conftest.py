"""Programs with known page accesses, compiled once, and their recordings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from swaplab.host.record import Recording, record
from swaplab.scenario.trace import EventKind, Trace

REGION = 0x700000000000 >> 12
SOURCE = Path(__file__).with_name("programs.c")


class Recorded(NamedTuple):
    summary: Recording
    directory: Path

    def streams(self) -> dict[str, list[str]]:
        """Accesses to the region in order, as `walk` takes them, of each stream that has any."""
        found: dict[str, list[str]] = {}
        for name, what in self.history():
            if what[0] in "rw":
                found.setdefault(name, []).append(what)
        return found

    def walk(self) -> list[str]:
        """Accesses to the region, of all streams in order."""
        return [what for _, what in self.history() if what[0] in "rw"]

    def history(self) -> Iterator[tuple[str, str]]:
        """What happens in the region in order: accesses, and what is freed, as ``unmap 2-4``; with names of streams."""
        trace = Trace.open(self.directory / "trace.parquet")
        streams = trace.info.streams
        addresses = [
            np.concatenate([np.arange(first, first + pages) for first, pages in stream.ranges or [(0, 0)]]) - REGION
            for stream in streams
        ]
        for chunk in trace.chunks():
            events = list(chunk.events)
            for row in range(len(chunk.page) + 1):
                while events and events[0]["at"] == row:
                    event = events.pop(0)
                    yield from _freed(streams[event["stream"]].name, event, addresses[event["stream"]])
                if row < len(chunk.page):
                    offset = addresses[chunk.stream[row]][chunk.page[row]]
                    if 0 <= offset < 1 << 20:
                        yield streams[chunk.stream[row]].name, f"{'w' if chunk.write[row] else 'r'}{offset}"


def _freed(name: str, event: np.void, addresses: NDArray[np.int64]) -> Iterator[tuple[str, str]]:
    if event["event"] == EventKind.EXIT:
        yield name, "exit"
    if event["event"] in (EventKind.UNMAP, EventKind.DISCARD):
        first = int(addresses[event["page"]])
        if 0 <= first < 1 << 20:
            yield name, f"{EventKind(event['event']).name.lower()} {first}-{first + int(event['pages']) - 1}"


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

    def run(*arguments: str, window: int = 64, sample_pages: int = 16, **options: Any) -> Recorded:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        summary = record([str(programs), *arguments], out, window=window, sample_pages=sample_pages, **options)
        return Recorded(summary, out)

    return run
