"""What the guest is given of contents, and what it must report, against the slow way: page by page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swaplab.scenario.accesses import Accesses
from swaplab.scenario.load import parse_scenario
from swaplab.vm.contents import checksums, contents_of

SCENARIO = """
machine.seed = 3
[[workload]]
pages = 30
content = { mix = [{ weight = 1, content = "zero" }, { weight = 2, content = { ratio = 2.0 } }] }
[[workload]]
pages = 20
content = "random"
[[workload]]
pages = 20
content = { mix = [{ weight = 1, content = "zero" }, { weight = 2, content = { ratio = 2.0 } }] }
"""


def slow_checksum(page: int, data: bytes) -> int:
    total = 0xCBF29CE484222325
    for i in range(0, 4096, 8):
        total = (total ^ int.from_bytes(data[i : i + 8], "little")) * 0x100000001B3 % 2**64
    return total * (2 * page + 1)


def test_checksums_are_those_of_every_page() -> None:
    scenario = parse_scenario(SCENARIO, "x", Path())
    accesses = Accesses(scenario)
    contents = contents_of(scenario, accesses)
    assert len(contents.counts) == 3, "the same content, once"
    assert len(contents.samples) == 1 + 64 + 64
    versions = np.arange(70) % 5 - 1
    expected = []
    for i, workload in enumerate(scenario.workloads):
        samples = workload.content.resolve(3, Path())
        pages = range(int(accesses.first[i]), int(accesses.first[i + 1]))
        touched = [page for page in pages if versions[page] >= 0]
        sums = [slow_checksum(page, samples.bytes_of(page, int(versions[page]))) for page in touched]
        expected.append(sum(sums) % 2**64)
    assert checksums(contents, accesses.first, versions) == expected


def test_a_checksum_is_of_the_versions() -> None:
    scenario = parse_scenario(SCENARIO, "x", Path())
    accesses = Accesses(scenario)
    contents = contents_of(scenario, accesses)
    before = checksums(contents, accesses.first, np.zeros(70, np.int64))
    versions = np.zeros(70, np.int64)
    versions[35] = 1
    after = checksums(contents, accesses.first, versions)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
