"""The scenario that a recording comes with: runs as it is, and is written to be edited."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from swaplab.scenario.trace import TraceInfo
from swaplab.scenario.units import round_size
from swaplab.text import shown

__all__ = ["scenario_text"]

PAGE: Final = 4096
MIB: Final = 1 << 20
STREAMS_SHOWN: Final = 20

_TEXT: Final = """\
# Made by `swaplab record`. Run it with `swaplab run scenario.toml --compare`, then change what you like.
name = {name}
description = {description}

[machine]
memory = "{machine}M"  # never short: what is scarce is the cgroup's memory.max

[zswap]
enabled = true
compressor = "lz4"  # or lzo, lzo-rle, zstd, deflate
max_pool_percent = 20  # of the machine's memory
shrinker_enabled = false  # true: memory pressure writes cold pages back to the device

[swap]
size = "{swap}M"  # twice the footprint
device = "nvme"

[cgroup."app"]
# Three quarters of the {footprint} that the program touched. What zswap stores is charged too: if it compresses to
# half, half of the pages stay resident. Below half of the footprint there is next to no room left for them.
memory.max = "{limit}K"

# All processes that were recorded, as one workload. To tell them apart, give several workloads `streams`, and
# each the cgroup that it belongs to. The trace has:
{streams}
[[workload]]
name = {name}
cgroup = "app"
trace = "trace.parquet"
content = {content}
"""


def scenario_text(info: TraceInfo, command: Sequence[str], sampled: int) -> str:
    """TOML for the recording `info` of `command`, of which `sampled` pages' contents are known."""
    mebibytes = -(-info.pages * PAGE // MIB)
    return _TEXT.format(
        name=_quoted(command[0].rpartition("/")[2]),
        description=_quoted(shlex.join(command)),
        machine=max(256, 4 * mebibytes),
        swap=max(64, 2 * mebibytes),
        limit=max(1, info.pages * 3 // 4) * PAGE // 1024,
        footprint=round_size(info.pages * PAGE),
        streams=_streams(info),
        content='{ profile = "content.parquet" }' if sampled else '"random"  # no contents were sampled',
    )


def _streams(info: TraceInfo) -> str:
    largest = sorted(info.streams, key=lambda stream: -stream.pages)
    lines = [
        f"#   {_quoted(stream.name)}: {stream.pages} pages, {stream.accesses} accesses\n"
        for stream in largest[:STREAMS_SHOWN]
    ]
    if len(largest) > STREAMS_SHOWN:
        lines.append(f"#   and {len(largest) - STREAMS_SHOWN} smaller ones\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    """`text` as a basic string of TOML, as people are shown it: a scenario has no control characters."""
    return '"' + shown(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
