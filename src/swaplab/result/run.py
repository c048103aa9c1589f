"""The description of a run: everything that a report says beside the counters."""

from __future__ import annotations

from typing import Literal

import msgspec

from swaplab.scenario.cost import Cost
from swaplab.scenario.model import OwnTime, Scenario
from swaplab.text import from_json, to_json

__all__ = ["Guest", "PolicyName", "RunInfo", "decode_info", "encode_info"]


class Guest(msgspec.Struct, frozen=True):
    """The machine that a scenario ran on.

    Attributes:
        kernel: its /proc/version.
        accelerator: ``kvm`` or ``tcg``, emulation.
        ram: bytes of its memory in all.
        free: bytes that were free when the first workload started.
        zswap_limit: bytes of the compressed pool at which stores end, 0 without zswap.
        footprint: bytes charged to each cgroup before its workloads touched anything.
        seconds: wall clock time, with its boot.
        checked: tasks whose memory was read back in the end and was what was written.
        instruction_ns: of its time, what an instruction takes; 0 where its time is the host's.
        reports: a hash of all that it reported: the same for the same run, unless its time is the host's.
    """

    kernel: str
    accelerator: str
    ram: int
    free: int
    zswap_limit: int
    footprint: dict[str, int]
    seconds: float
    checked: int
    instruction_ns: int = 0
    reports: str = ""

    @property
    def release(self) -> str:
        """Of Linux, as ``uname -r`` says it."""
        return self.kernel.split()[2]


class PolicyName(msgspec.Struct, frozen=True):
    """Which policy of one's own a run had.

    Attributes:
        file: its name.
        sha256: of what it holds.
    """

    file: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.sha256[:12]})"


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a run.

    Attributes:
        engine: which kind of machine ran it.
        release: of Linux, the one that the replay models or the guest's (uname -r).
        scenario: all of it, as it was run.
        configuration: the baseline it was run under, empty for the scenario's own settings.
        accesses: made in all.
        workload_accesses: accesses of each workload, by its cgroup, name and number.
        own_times: what the workloads of a cgroup and below take with all their memory, of cgroups that say so; the
            machine's is empty.
        reconstructed: traces of which no access was seen, with what they are made from.
        cost: of the replay's clock.
        guest: the kernel's machine.
        policy: what decided in the place of Linux; None where nothing did.
    """

    engine: Literal["replay", "kernel"]
    release: str
    scenario: Scenario
    configuration: str = ""
    accesses: int
    workload_accesses: dict[str, int] = {}
    own_times: dict[str, OwnTime] = {}
    reconstructed: dict[str, str] = {}
    cost: Cost | None = None
    guest: Guest | None = None
    policy: PolicyName | None = None

    @property
    def zram(self) -> bool:
        """Whether the swap device is memory."""
        return self.scenario.swap.device == "zram"

    def summary(self) -> dict[str, object]:
        """Return the part for ``--json``."""
        return {
            "engine": self.engine,
            "release": self.release,
            "scenario": self.scenario.name,
            "configuration": self.configuration,
            "accesses": self.accesses,
            "workload_accesses": self.workload_accesses,
            **({"own_times": msgspec.to_builtins(self.own_times)} if self.own_times else {}),
            **({"reconstructed": self.reconstructed} if self.reconstructed else {}),
            "cost": self.cost.source if self.cost else "",
            "zram": self.zram,
            **({"policy": msgspec.to_builtins(self.policy)} if self.policy else {}),
        }


def encode_info(info: RunInfo) -> bytes:
    """Return it as JSON."""
    return to_json(msgspec.to_builtins(info, enc_hook=str)).encode()


def decode_info(data: bytes) -> RunInfo:
    """Return what `encode_info` was given.

    Raises:
        ValueError: it is something else.
        RecursionError: so is it.
    """
    return msgspec.convert(from_json(data), RunInfo, dec_hook=lambda kind, value: kind(value))  # paths
