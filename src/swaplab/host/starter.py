"""The scenario that a recording comes with: runs as it is, and is written to be edited."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from swaplab.host.settings import Settings
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.model import OwnTime
from swaplab.scenario.toml import quoted
from swaplab.scenario.trace import TraceInfo
from swaplab.scenario.units import format_duration, format_size, round_size
from swaplab.text import shown

__all__ = ["scenario_text"]

MIB: Final = 1 << 20
STREAMS_SHOWN: Final = 20

_TEXT: Final = """\
# Made by `swaplab record`. Run it with `swaplab run scenario.toml --compare`, then change what you like.
# Recorded {recorded}
{reconstructed}name = {name}
description = {description}

# As the machine was set that the recording was made on.
[machine]
memory = "{memory}"
lru = "{machine.lru}"
page_cluster = {machine.page_cluster}
swappiness = {machine.swappiness}

[zswap]
enabled = true{was_enabled}
compressor = "{zswap.compressor}"  # lzo, lzo-rle, lz4, zstd or deflate
max_pool_percent = {zswap.max_pool_percent}  # of the machine's memory
accept_threshold_percent = {zswap.accept_threshold_percent}
shrinker_enabled = {shrinker}  # true: memory pressure writes cold pages back to the device

[swap]
size = "{swap}M"  # twice the footprint
device = "nvme"

[cgroup."app"]
# Three quarters of the {footprint} that there was at most. What zswap stores is charged too: if it compresses to
# half, half of the pages stay resident. Below half of the footprint there is next to no room left for them.
memory.max = "{limit}K"

# All processes that were recorded, as one workload. To tell them apart, give several workloads `streams`, and
# each the cgroup that it belongs to. The trace has:
{streams}
[[workload]]
name = {name}
cgroup = "app"
trace = "trace.parquet"
time = "{time}"  # of processors, with all its memory{estimated}
content = {content}
"""


def scenario_text(
    info: TraceInfo, command: Sequence[str], peak: int, sampled: int, settings: Settings, recorded: str, time: OwnTime
) -> str:
    """TOML for a recording.

    Args:
        info: of its trace.
        command: the program.
        peak: pages that there were at most.
        sampled: pages whose contents are known.
        settings: of the machine.
        recorded: when, and how long it took, for people.
        time: of the program without the recorder.
    """
    machine, zswap = settings
    return _TEXT.format(
        recorded=recorded,
        reconstructed=f"# The trace is reconstructed {shown(info.reconstructed)}.\n" if info.reconstructed else "",
        time=f"{'about ' if time.is_about else ''}{format_duration(_rounded(time.ns))}",
        estimated=": estimated, within a factor of two for most programs" if time.is_about else "",
        name=quoted(command[0].rpartition("/")[2]),
        description=quoted(shlex.join(command)),
        machine=machine,
        memory=format_size(machine.memory),
        zswap=zswap,
        was_enabled="" if zswap.enabled else "  # it was not",
        shrinker="true" if zswap.shrinker_enabled else "false",
        swap=max(64, -(-2 * peak * PAGE_SIZE // MIB)),
        limit=max(1, peak * 3 // 4) * PAGE_SIZE // 1024,
        footprint=round_size(peak * PAGE_SIZE),
        streams=_streams(info),
        content='{ profile = "content.parquet" }' if sampled else '"random"  # no contents were sampled',
    )


def _rounded(nanoseconds: int) -> int:
    """Return a time with three digits."""
    unit: int = 10 ** max(0, len(str(nanoseconds)) - 3)
    return max(1, round(nanoseconds / unit)) * unit


def _streams(info: TraceInfo) -> str:
    largest = sorted(info.streams, key=lambda stream: -stream.pages)
    lines = [
        f"#   {quoted(stream.name)}: {stream.pages} pages, {stream.accesses} accesses\n"
        for stream in largest[:STREAMS_SHOWN]
    ]
    if len(largest) > STREAMS_SHOWN:
        lines.append(f"#   and {len(largest) - STREAMS_SHOWN} smaller ones\n")
    return "".join(lines)
