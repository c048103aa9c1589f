"""QEMU's command line, and whether KVM works here."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from swaplab.errors import SwaplabError
from swaplab.linux.page import PAGE_SIZE
from swaplab.process import run
from swaplab.vm.memory import MIB, Sizes

__all__ = [
    "INSTRUCTION_NS",
    "QUIET_CMDLINE",
    "QUIET_CPU",
    "Accelerator",
    "Disks",
    "command_line",
    "find_accelerator",
    "find_qemu",
    "quiet_command_line",
    "write_swap",
]

Accelerator = Literal["kvm", "tcg"]

# Nothing random, nothing on a disk, and an end where there is nothing to go on with.
CMDLINE = "console=ttyS0 loglevel=4 panic=-1 oops=panic rootfstype=ramfs transparent_hugepage=never nokaslr norandmaps"
# QEMU 7.2 emulates cmpxchg16b with garbage in EFLAGS, on which an interrupt that follows fails with a double fault. The
# kernel's slab allocator does without it, where the processor has none.
CPU: dict[Accelerator, str] = {"kvm": "host", "tcg": "max,cx16=off"}
# A guest that is to do the same each time has nothing random from its processor either; and since an instruction takes
# a nanosecond, a page is copied by words, not by bytes: erms and fsrm would have 4096 of them take as long.
QUIET_CPU: dict[Accelerator, str] = CPU | {"tcg": f"{CPU['tcg']},rdrand=off,rdseed=off,erms=off,fsrm=off"}
SHIFT: Final = 0
INSTRUCTION_NS: Final = 1 << SHIFT
"""The time of an instruction in an emulated guest."""
QUIET_CMDLINE = (
    # To find out how fast the local APIC's timer is takes a tenth of a second of waiting, and a third of the boot.
    f"{CMDLINE} nolapic_timer randomize_kstack_offset=off page_alloc.shuffle=0 random.trust_cpu=off "
    "random.trust_bootloader=off clocksource=tsc tsc=reliable nowatchdog numa_balancing=disable "
    # What a guest has no use for, and a fifth of its boot goes into.
    "initcall_blacklist=bpf_tcp_ca_kfunc_init,bpf_dummy_struct_ops_init,load_system_certificate_list,jent_mod_init,"
    "trace_eval_init,init_kprobe_trace"
)
PROBE_SECONDS = 10.0


class Disks(NamedTuple):
    """Files that a guest boots from and works on; None for a disk that it does without."""

    initramfs: Path
    trace: Path | None
    swap: Path | None


def write_swap(path: Path, size: int) -> None:
    """Make a sparse swap file with its header, include/linux/swap.h:union swap_header; the header takes a page."""
    pages = size // PAGE_SIZE  # 2**28 at most, by `swaplab.scenario.validate`
    with path.open("wb") as file:
        file.write(bytes(1024) + struct.pack("<III", 1, pages, 0))
        file.seek(PAGE_SIZE - 10)
        file.write(b"SWAPSPACE2")
        file.truncate((pages + 1) * PAGE_SIZE)


def find_qemu() -> str:
    """Return the path of QEMU.

    Raises:
        SwaplabError: it is not installed.
    """
    found = shutil.which("qemu-system-x86_64")
    if found is None:
        raise SwaplabError("running on a kernel needs qemu-system-x86_64: apt-get install qemu-system-x86")
    return found


def _machine(
    qemu: str, image: Path, accelerator: Accelerator, ram: int, machine: str, cpu: str, cmdline: str
) -> list[str]:
    options = {
        "-machine": f"q35,usb=off,smbus=off,{machine}",
        "-accel": accelerator,
        "-cpu": cpu,
        "-smp": "1",
        "-m": f"{ram // MIB}M",
        "-display": "none",
        "-kernel": str(image),
        "-append": cmdline,
        "-chardev": "file,id=console,path=/dev/stderr",
        "-serial": "chardev:console",
    }
    return [qemu, "-nodefaults", "-no-user-config", "-no-reboot", *(x for pair in options.items() for x in pair)]


def _plain_machine(qemu: str, image: Path, accelerator: Accelerator, ram: int) -> list[str]:
    return _machine(qemu, image, accelerator, ram, "hpet=off", CPU[accelerator], CMDLINE)


def command_line(qemu: str, image: Path, accelerator: Accelerator, ram: int, disks: Disks) -> list[str]:
    """Build the command line: reports go to standard output, the console to standard error.

    Args:
        ram: bytes, whole MiB.
    """
    command = [*_plain_machine(qemu, image, accelerator, ram), "-initrd", str(disks.initramfs)]
    command += ["-chardev", "file,id=reports,path=/dev/stdout", "-device", "virtio-serial-pci"]
    command += ["-device", "virtserialport,chardev=reports"]
    command += _disk("trace", disks.trace, "readonly=on") if disks.trace else []
    return command + (_disk("swap", disks.swap, "cache=unsafe") if disks.swap else [])


def quiet_command_line(
    qemu: str, image: Path, accelerator: Accelerator, sizes: Sizes, initramfs: Path, turns: Path
) -> list[str]:
    """Build the command line of a guest that has nothing of the host's: no disk, no random number, and no time.

    Reports go to standard output, the console to standard error. Under KVM the time is the host's.

    Args:
        turns: the library of ``turns.c``, which emulation takes.
    """
    command = _machine(qemu, image, accelerator, sizes.ram, "sata=off", QUIET_CPU[accelerator], QUIET_CMDLINE)
    command += ["-name", "guest,debug-threads=on", "-initrd", str(initramfs)]
    for i, size in enumerate((sizes.own, sizes.other)):
        command += ["-object", f"memory-backend-ram,id=node{i},size={size}"]
        command += ["-numa", f"node,nodeid={i},memdev=node{i}"]
    command += ["-chardev", "file,id=reports,path=/dev/stdout", "-device", "isa-debugcon,iobase=0xe9,chardev=reports"]
    if accelerator == "kvm":
        return command
    return [
        *("env", f"LD_PRELOAD={turns}", *command),
        *("-icount", f"shift={SHIFT},sleep=off,align=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm"),
    ]


def _disk(name: str, path: Path, options: str) -> list[str]:
    file = str(path).replace(",", ",,")
    drive = f"if=none,id={name},format=raw,{options},file={file}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name}"]


@cache
def find_accelerator(qemu: str, image: Path) -> Accelerator:
    """Return ``kvm`` where the kernel runs under it, else ``tcg``.

    That /dev/kvm can be opened does not say that guests run. So this one is started, without anything to boot from,
    and has to get as far as its own panic.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    command = _plain_machine(qemu, image, "kvm", 256 * MIB)
    try:
        done = run(command, seconds=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if done.returncode == 0 and "Kernel panic" in done.stderr else "tcg"
