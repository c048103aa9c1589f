"""Contents of all pages of a scenario: equal ones are made once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.content import Content, Samples
from swaplab.scenario.model import Scenario

__all__ = ["PageContents", "page_contents"]


class PageContents(NamedTuple):
    """All contents of a scenario.

    Attributes:
        samples: uint8[n, 4096], those of each content.
        kind: int32[pages], the component of every page.
        first: int32[components], where the samples of each begin, in all of them.
        counts: int32[components], how many they are.
    """

    samples: list[NDArray[np.uint8]]
    kind: NDArray[np.int32]
    first: NDArray[np.int32]
    counts: NDArray[np.int32]


def page_contents(scenario: Scenario, accesses: Accesses, components_max: int = (1 << 31) - 1) -> PageContents:
    """Make the contents of all workloads ready.

    Raises:
        InputError: contents cannot be made, or have more components in all than that.
    """
    kind = np.zeros(int(accesses.first[-1]), np.int32)
    known: dict[Content, tuple[int, Samples]] = {}
    components = 0
    for i, workload in enumerate(scenario.workloads):
        where = f"{scenario.source}: workload[{i}].content"
        if workload.content not in known:
            samples = workload.content.resolve(scenario.machine.seed, scenario.base, where)
            known[workload.content] = components, samples
            components += len(samples.count)
        before, samples = known[workload.content]
        if components > components_max:
            raise InputError(where, f"at most {components_max} components in all contents", components)
        begin, end = int(accesses.first[i]), int(accesses.first[i + 1])
        kind[begin:end] = samples.component_of(np.arange(begin, end)).astype(np.int32) + before
    # 1000 workloads have 2**16 samples each at most, so all of them fit an int32.
    count = np.concatenate([samples.count for _, samples in known.values()])
    first = np.cumsum(count, dtype=np.int32) - count
    return PageContents([samples.pages for _, samples in known.values()], kind, first, count)
