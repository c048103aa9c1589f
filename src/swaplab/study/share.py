"""Parts that the variants of a study share and each process makes once: the order of accesses, and contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from swaplab.replay import Prepared
from swaplab.replay.build import CompressedContents, compressed_contents
from swaplab.scenario.accesses import Accesses, Chunk
from swaplab.scenario.content import Random
from swaplab.scenario.model import Scenario

__all__ = ["Shared", "versions"]

ACCESSES_MAX: Final = 1 << 26  # kept decoded, at 4 bytes each
ORDERS_MAX: Final = 2
CONTENTS_MAX: Final = 16  # each compressor has its own lengths

Made = TypeVar("Made")


def versions(scenario: Scenario) -> list[tuple[object, ...]]:
    """Name all files that a scenario reads, with values that tell whether they have changed.

    Raises:
        OSError: a file is missing.
    """
    status = [(name, (scenario.base / name).stat()) for name in scenario.files()]
    return [(name, each.st_ino, each.st_size, each.st_mtime_ns) for name, each in status]


class Shared:
    """The parts made for the latest variants."""

    def __init__(self) -> None:
        self._orders: dict[str, list[Chunk]] = {}
        self._contents: dict[str, CompressedContents] = {}

    def prepared(self, scenario: Scenario) -> Prepared:
        """Return what a replay of a variant takes.

        Raises:
            InputError: a trace or a content is broken.
            OSError: a file is missing.
        """
        accesses = Accesses(scenario)
        files = versions(scenario)
        bare = [msgspec.structs.replace(each, name="", cgroup="", content=Random()) for each in scenario.workloads]
        seed = scenario.machine.seed
        order = repr((bare, scenario.interleave, seed, scenario.base, files))
        held = [(each.content, int(pages)) for each, pages in zip(scenario.workloads, accesses.first, strict=False)]
        how = (scenario.zswap.compressor, scenario.machine.kernel)
        contents = repr((held, accesses.first[-1], how, seed, scenario.base, files))
        if accesses.total <= ACCESSES_MAX:
            accesses.kept = _kept(self._orders, order, ORDERS_MAX, lambda: list(accesses.chunks()))
        return Prepared(
            accesses, _kept(self._contents, contents, CONTENTS_MAX, lambda: compressed_contents(scenario, accesses))
        )


def _kept(known: dict[str, Made], key: str, most: int, make: Callable[[], Made]) -> Made:
    if key not in known:
        if len(known) >= most:
            del known[next(iter(known))]
        known[key] = make()
    return known[key]
