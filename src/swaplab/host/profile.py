"""Savings of zswap now: live memory, sampled, compressed with every compressor, sized as zsmalloc does.

The answer is for all anonymous pages of the processes in zswap at once. Pages are sampled per cgroup,
and every number that rests on the sample has a confidence interval. Facts are those of 6.12: pages of zeros
are a bit in the swap layer and never reach zswap (mm/page_io.c:swap_writepage), other same-filled pages are
compressed like any page, and what compresses to more than a page is refused (mm/zswap.c:zswap_compress).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from swaplab.compress import compress
from swaplab.errors import InputError
from swaplab.host.attach.idle import Idle
from swaplab.host.draw import Sample, Unreadable, draw
from swaplab.host.estimate import Estimate, Stratum, add, quantiles
from swaplab.host.processes import PROC, Process
from swaplab.host.timing import as_in_c, compressor_measurements, in_rounds
from swaplab.linux.crypto import COMPRESSORS
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.zsmalloc import SIZE_CLASSES, class_of_length
from swaplab.scenario.profile import PROFILE_SAMPLES_MAX, write_profile
from swaplab.text import shown

__all__ = [
    "PARTIAL_BYTES_MAX",
    "CgroupProfile",
    "CompressorProfile",
    "IdleProfile",
    "Pages",
    "Profile",
    "Timing",
    "profile",
    "with_idle",
    "write_pages",
]

PERCENTILES = (5, 25, 50, 75, 95)
# Of a pool from which nothing was freed: one zspage for each class that is not full.
PARTIAL_BYTES_MAX = sum(size_class.pages_per_zspage for size_class in SIZE_CLASSES) * PAGE_SIZE
TIMED_PAGES = 256
TIMING_ROUNDS = 3


class CompressorProfile(msgspec.Struct, frozen=True):
    """The pages of a group under one compressor.

    Attributes:
        pool_bytes: size of the pool if all zspages are full.
        saved_bytes: all pages, less the pool and less the pages that zswap refuses.
        ratio: bytes stored in the pool by bytes it takes; None if it takes none.
        length_percentiles: compressed lengths in bytes of pages other than zero pages, by "p5" to "p95".
        refused_pages: longer than a page when compressed; they go to the swap device (reject_compress_fail).
        whole_pages: stored, but in a whole page, so nothing is gained.
    """

    pool_bytes: int
    saved_bytes: Estimate
    ratio: float | None
    length_percentiles: dict[str, int]
    refused_pages: Estimate
    whole_pages: Estimate


class CgroupProfile(msgspec.Struct, frozen=True):
    """A cgroup's anonymous memory, or all of it.

    Attributes:
        cgroup: its path, or "total".
        processes: how many were read.
        resident_pages: anonymous, not mlocked; a page that k processes share counts 1/k in each.
        locked_pages: mlocked ones, which never leave memory.
        shared_pages: of shared memory and mapped files in tmpfs, which are swapped as well, but not sampled; one that k
            processes map counts 1/k in each. 0 before Linux 5.5, which does not say.
        swapped_pages: already in swap, counted by each process.
        sampled_pages: read.
        lost_pages: chosen, but gone before they were read.
        zero_pages: all zeros.
        same_filled_pages: another machine word, repeated.
        compressors: by name.
    """

    cgroup: str
    processes: int
    resident_pages: int
    locked_pages: int
    shared_pages: int
    swapped_pages: int
    sampled_pages: int
    lost_pages: int
    zero_pages: Estimate
    same_filled_pages: Estimate
    compressors: dict[str, CompressorProfile]


class IdleProfile(msgspec.Struct, frozen=True):
    """Memory of a cgroup that was not used for a while.

    Attributes:
        cgroup: its path, or "total".
        seconds: how long was waited.
        resident_pages: of anonymous and of shared memory, not mlocked.
        idle_pages: of these.
        saved_bytes: what zswap would save of them, by compressor, if they compress as anonymous pages of the cgroup do.
    """

    cgroup: str
    seconds: float
    resident_pages: int
    idle_pages: int
    saved_bytes: dict[str, int]


class Timing(msgspec.Struct):
    """Microseconds of processor time for a page other than a zero page, on this machine; `host.timing` says how."""

    compress_us: float
    decompress_us: float


class Profile(msgspec.Struct, frozen=True):
    """The answer.

    Attributes:
        cgroups: in order of path, those with anonymous pages.
        total: all of them.
        unreadable: processes that are missing from it, and why.
        without_memory: kernel threads and zombies; they have no anonymous memory.
        seed: of the sample.
        timing: by compressor. Measured, so it differs from run to run, unlike the rest on the same memory.
        idle: by cgroup and last in total, if it was asked for.
    """

    cgroups: list[CgroupProfile]
    total: CgroupProfile
    unreadable: list[Unreadable]
    without_memory: int
    seed: int
    timing: dict[str, Timing]
    idle: list[IdleProfile] = []


class Pages(NamedTuple):
    """Sampled pages for a content profile: uint8[n, 4096], and float64[n] pages that each stands for."""

    data: NDArray[np.uint8]
    weights: NDArray[np.float64]


class _Group(NamedTuple):
    """A sampled cgroup: lengths are int32[n] by compressor, 0 for a zero page."""

    cgroup: str
    sample: Sample
    stratum: Stratum
    same_filled: NDArray[np.bool_]
    lengths: dict[str, NDArray[np.int32]]


def _lengths(pages: NDArray[np.uint8]) -> dict[str, NDArray[np.int32]]:
    """Compressed lengths by compressor, int32[n]; 0 for a zero page.

    What `compressed_lengths` would remember on the disk is of no use: live pages are not seen twice.
    """
    stored = pages.any(axis=1)
    data = [page.tobytes() for page in pages[stored]]
    lengths: dict[str, NDArray[np.int32]] = {name: np.zeros(len(pages), np.int32) for name in COMPRESSORS}
    for name in COMPRESSORS:
        lengths[name][stored] = [len(compress(name, page)) for page in data]
    return lengths


def _timing(pages: list[bytes]) -> dict[str, Timing]:
    if not pages:
        return {}
    rounds = in_rounds(compressor_measurements(pages), TIMING_ROUNDS, TIMING_ROUNDS, derive=as_in_c)
    us = {key: round(float(np.median(times)) / 1e3, 2) for key, times in rounds.items()}
    return {name: Timing(us["compress", name], us["decompress", name]) for name in COMPRESSORS}


def _same_filled(pages: NDArray[np.uint8]) -> NDArray[np.bool_]:
    words = pages.view(np.uint64)
    same: NDArray[np.bool_] = (words == words[:, :1]).all(axis=1) & (words[:, 0] != 0)
    return same


def _costs() -> NDArray[np.float64]:
    """Bytes of the pool by compressed length, float64[4097]: a share of a full zspage; 0 for a zero page.

    What zspages that are not full take besides is no property of a page, and how many there are cannot be
    estimated from a sample: each of the classes has one at most when nothing was freed yet.
    """
    per_class = np.array([c.pages_per_zspage * PAGE_SIZE / c.objs_per_zspage for c in SIZE_CLASSES])
    costs = per_class[class_of_length()]
    costs[0] = 0.0
    return costs


def _saved(lengths: NDArray[np.int32]) -> NDArray[np.float64]:
    """Bytes saved by a page of each length; float64[n]."""
    refused = lengths > PAGE_SIZE
    costs = _costs()[np.where(refused, 0, lengths)]
    return np.where(refused, 0.0, PAGE_SIZE - costs)


def _is_whole(lengths: NDArray[np.int32]) -> NDArray[np.bool_]:
    costs = _costs()[np.minimum(lengths, PAGE_SIZE)]
    whole: NDArray[np.bool_] = (lengths <= PAGE_SIZE) & (costs == PAGE_SIZE)
    return whole


def _compressor(groups: list[_Group], name: str) -> CompressorProfile:
    lengths = np.concatenate([group.lengths[name] for group in groups])
    expansion = np.concatenate([group.stratum.expansion() for group in groups])
    refused, compressed = lengths > PAGE_SIZE, lengths > 0
    stored = float(expansion[compressed & ~refused].sum()) * PAGE_SIZE
    saved = add([group.stratum.total(_saved(group.lengths[name])) for group in groups])
    pool = round(float(expansion[~refused].sum()) * PAGE_SIZE) - saved.value
    percentiles = (
        quantiles(lengths[compressed], expansion[compressed], [p / 100 for p in PERCENTILES])
        if compressed.any()
        else []
    )
    return CompressorProfile(
        pool_bytes=pool,
        saved_bytes=saved,
        ratio=round(stored / pool, 3) if pool else None,
        length_percentiles={f"p{p}": length for p, length in zip(PERCENTILES, percentiles, strict=False)},
        refused_pages=add([group.stratum.pages_that(group.lengths[name] > PAGE_SIZE) for group in groups]),
        whole_pages=add([group.stratum.pages_that(_is_whole(group.lengths[name])) for group in groups]),
    )


def _describe(cgroup: str, groups: list[_Group]) -> CgroupProfile:
    samples = [group.sample for group in groups]
    return CgroupProfile(
        cgroup=cgroup,
        processes=sum(sample.processes for sample in samples),
        resident_pages=sum(round(sample.population) for sample in samples),
        locked_pages=sum(sample.locked for sample in samples),
        shared_pages=sum(sample.shared for sample in samples),
        swapped_pages=sum(sample.swapped for sample in samples),
        sampled_pages=sum(len(sample.weights) for sample in samples),
        lost_pages=sum(sample.lost for sample in samples),
        zero_pages=add([group.stratum.pages_that(group.lengths[COMPRESSORS[0]] == 0) for group in groups]),
        same_filled_pages=add([group.stratum.pages_that(group.same_filled) for group in groups]),
        compressors={name: _compressor(groups, name) for name in COMPRESSORS},
    )


def _group(cgroup: str, sample: Sample) -> _Group:
    stratum = Stratum(sample.weights, sample.population, sample.fraction)
    return _Group(cgroup, sample, stratum, _same_filled(sample.pages), _lengths(sample.pages))


def profile(
    processes: list[Process],
    *,
    samples: int,
    seed: int,
    proc: Path = PROC,
    step: Callable[[], None] = lambda: None,
    keep: Callable[[Pages], None] = lambda pages: None,
) -> Profile:
    """Sample processes and say what zswap would save.

    Args:
        processes: of any cgroups.
        samples: pages to read per cgroup at most; fewer if that would be more than 65,536 in all.
        seed: of the sample. The sample of a cgroup does not depend on what else is sampled.
        proc: where /proc is.
        step: called after every process.
        keep: called with the pages of every cgroup.

    Raises:
        InputError: none of the processes has anonymous memory that may be read.
    """
    with_memory = [process for process in processes if process.has_memory]
    by_cgroup = groupby(sorted(with_memory, key=lambda p: (p.cgroup, p.pid)), key=lambda p: p.cgroup)
    members = {cgroup: list(chosen) for cgroup, chosen in by_cgroup}
    share = min(samples, PROFILE_SAMPLES_MAX // max(len(members), 1))
    groups, unreadable, timed = [], [], []
    for cgroup, chosen in members.items():
        generator = np.random.default_rng([seed, *cgroup.encode()])
        sample = draw(chosen, share, generator, proc, step)
        unreadable += sample.unreadable
        if len(sample.weights):
            group = _group(cgroup, sample)
            some = sample.pages[sample.pages.any(axis=1)][: max(1, TIMED_PAGES // len(members))]
            timed += [page.tobytes() for page in some]
            keep(Pages(sample.pages, group.stratum.expansion()))
            groups.append(group._replace(sample=sample._replace(pages=sample.pages[:0])))
    if not groups:
        raise _nothing(processes, unreadable)
    return Profile(
        cgroups=[_describe(group.cgroup, [group]) for group in groups],
        total=_describe("total", groups),
        unreadable=unreadable,
        without_memory=len(processes) - len(with_memory),
        seed=seed,
        timing=_timing(timed[:TIMED_PAGES]),
    )


def with_idle(profile: Profile, found: Sequence[Idle]) -> Profile:
    """Return it with what is idle; of cgroups that have both."""
    by_cgroup = {each.cgroup: each for each in found}
    idle = [_idle(group, by_cgroup[group.cgroup]) for group in profile.cgroups if group.cgroup in by_cgroup]
    saved: dict[str, int] = {name: sum(each.saved_bytes[name] for each in idle) for name in COMPRESSORS}
    seconds = max((each.seconds for each in idle), default=0.0)
    resident, unused = (sum(getattr(each, name) for each in idle) for name in ("resident_pages", "idle_pages"))
    total = IdleProfile("total", seconds, resident, unused, saved)
    return msgspec.structs.replace(profile, idle=[*idle, total])


def _idle(group: CgroupProfile, found: Idle) -> IdleProfile:
    share = found.idle / max(group.resident_pages, 1)
    saved: dict[str, int] = {name: round(share * each.saved_bytes.value) for name, each in group.compressors.items()}
    return IdleProfile(group.cgroup, found.seconds, round(found.resident), round(found.idle), saved)


def _nothing(processes: list[Process], unreadable: list[Unreadable]) -> InputError:
    denied = [process for process in unreadable if process.reason == "no permission"]
    without = [process for process in processes if not process.has_memory]
    found = f"{len(processes)} without"
    if len(without) == len(processes):
        found = f"{_named(without)}, which is a kernel thread or has ended, as all of them"
    elif denied:
        found += f", {_named(denied)} among them, which this user may not read"
    return InputError("processes", "at least one with resident anonymous memory", found)


def _named(processes: Sequence[Process | Unreadable]) -> str:
    return f"{shown(processes[0].name)} ({processes[0].pid})"


def write_pages(path: Path, kept: list[Pages], source: str) -> None:
    """Write the pages of all cgroups as a content profile, with mode 0600.

    Raises:
        OSError: the file cannot be written.
    """
    # Rounding the running sum keeps the total; a page that then stands for none is left out.
    reached = np.round(np.cumsum(np.concatenate([pages.weights for pages in kept])))
    weights = np.diff(reached, prepend=0).astype(np.int64)
    data = np.concatenate([pages.data for pages in kept])
    write_profile(path, data[weights > 0], weights[weights > 0], source)
