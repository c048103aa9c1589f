"""The kernel's own test of zswap in a guest: tools/testing/selftests/cgroup/test_zswap.c.

What it says of a kernel that is known to be good, it says of this harness. The test is not part of swaplab: it is
compiled from the kernel's source, and started by a shell, since it is a program of its own and no scenario.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tarfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final, Literal

import msgspec

from swaplab.cache import cached_directory
from swaplab.errors import InputError
from swaplab.files import scratch_directory
from swaplab.scenario.regular import found_instead
from swaplab.vm.guest import SILENCE_SECONDS, LostGuestError, Report, listen
from swaplab.vm.initramfs import archive
from swaplab.vm.kernel import Kernel
from swaplab.vm.memory import MIB
from swaplab.vm.modules import load_order
from swaplab.vm.package import download, fetch, unpack
from swaplab.vm.qemu import Disks, command_line, find_accelerator, find_qemu, write_swap
from swaplab.vm.runner import compiled

__all__ = ["Case", "Listener", "Selftest", "compile_selftest", "debian_source", "run_selftest"]

SOURCE_PACKAGE: Final = "linux-source-6.12"
SELFTESTS: Final = Path("tools/testing/selftests")
PARTS: Final = ("cgroup/test_zswap.c", "cgroup/cgroup_util.c")
UNPACKED = re.compile(
    rf"[^/]+/{SELFTESTS}/(kselftest\.h|clone3/clone3_selftests\.h|cgroup/(test_zswap\.c|cgroup_util\.))"
)
# Not optimised, as tools/testing/selftests/cgroup/Makefile has it: pages that the test writes and frees again would
# never be written.
FLAGS: Final = ("-static", "-O0", "-w", "-pthread")

# test_no_kmem_bypass allocates and frees a twentieth of it. Where that is below 32 MiB, which is how far glibc's malloc
# raises M_MMAP_THRESHOLD, it stays in the heap, and the last case gets memory that was charged to the root before.
RAM = 768 * MIB
SWAP = 1024 * MIB
MODULES: Final = (
    "virtio_pci", "virtio_blk", "virtio_console", "zsmalloc", "lzo", "lzo_rle", "lz4", "zstd", "deflate",
)  # fmt: skip

INIT = r"""#!/busybox sh
b=/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b mount -t debugfs debugfs /sys/kernel/debug
for module in {modules}; do $b insmod /modules/$module.ko; done
while ! [ -e /dev/vda ]; do $b usleep 10000; done
$b swapon /dev/vda
echo Y > /sys/module/zswap/parameters/enabled
say() {{ $b printf '{{"%s": "%s"}}\n' "$1" "$(echo "$2" | $b tr '\t' ' ' | $b sed 's/[\\"]/\\&/g')"; }}
{{
    say hello "$($b cat /proc/version)"
    {{ /test 2>&1; echo "status $?"; }} | while read -r line; do say line "$line"; done
    echo '{{"done": true}}'
}} > "$(echo /dev/vport*)"
$b sleep 1000000
"""

RESULT = re.compile(r"(?P<not>not )?ok \d+ (?P<skip># SKIP )?(?P<name>\S+)")

Outcome = Literal["pass", "fail", "skip"]


class Case(msgspec.Struct, frozen=True):
    """The outcome of one case of the test.

    Attributes:
        name: of its function.
        outcome: in the end.
        notes: lines that it printed.
    """

    name: str
    outcome: Outcome
    notes: tuple[str, ...]


class Selftest(msgspec.Struct, frozen=True):
    """The outcome of the test on a kernel.

    Attributes:
        kernel: its /proc/version.
        accelerator: ``kvm`` or ``tcg``, emulation.
        cases: in the order of the test.
    """

    kernel: str
    accelerator: str
    cases: tuple[Case, ...]


class Listener:
    """Understands what the guest's shell reports: the test's own lines, in TAP (Test Anything Protocol).

    Args:
        booted: called when the guest has opened all its files.
        advance: called after each case.

    Attributes:
        kernel: the guest's /proc/version.
        cases: so far.
        status: with which the test ended.
    """

    def __init__(self, booted: Callable[[], None], advance: Callable[[], None]) -> None:
        self._booted, self._advance = booted, advance
        self._notes: list[str] = []
        self._last = ""
        self.kernel = ""
        self.cases: list[Case] = []
        self.status = -1

    def __call__(self, report: Report) -> None:
        """Take a report.

        Raises:
            LostGuestError: it was the last, and the test did not come to its end.
        """
        if "hello" in report:
            self.kernel = report["hello"]
            self._booted()
        elif "line" in report:
            self._hear(report["line"])
        elif "done" in report and (self.status not in (0, 1) or not self.cases):
            raise LostGuestError(f"the test ended with status {self.status}, after {self._last!r}")

    def _hear(self, line: str) -> None:
        if line.startswith("status "):
            self.status = int(line.removeprefix("status "))
            return
        self._last = line
        result = RESULT.match(line)
        if result:
            outcome: Outcome = "skip" if result["skip"] else "fail" if result["not"] else "pass"
            self.cases.append(Case(result["name"], outcome, tuple(self._notes)))
            self._notes.clear()
            self._advance()
        else:
            self._notes.append(line.lstrip("# "))


def debian_source() -> Path:
    """Return a directory that has the test's source, of Debian's 6.12; the first time, that is fetched (140 MB).

    Raises:
        SwaplabError: apt does not know it, or cannot fetch it.
        OSError: the cache is not writable or full.
    """
    directory = cached_directory(f"{SOURCE_PACKAGE}-selftests", _fetch_source)
    return next(each for each in directory.iterdir() if each.is_dir())


def _fetch_source(directory: Path) -> None:
    with scratch_directory(directory) as scratch:
        download(SOURCE_PACKAGE, re.compile(rf"\./usr/src/{SOURCE_PACKAGE}\.tar"), scratch)
        with tarfile.open(next(scratch.glob("usr/src/*.tar*")), "r|*") as source:
            unpack(source, UNPACKED, directory)


def compile_selftest(source: Path) -> bytes:
    """Compile the test, unless that was done before.

    Args:
        source: a tree of the kernel's source.

    Raises:
        InputError: the test is not there.
        SwaplabError: there is no C compiler, or it does not compile.
        OSError: the cache is not writable or full.
    """
    parts = [source / SELFTESTS / each for each in PARTS]
    for part in parts:
        if found := found_instead(part):
            raise InputError(source, f"a tree of the kernel's source with {part.relative_to(source)}", found)
    with resources.as_file(resources.files("swaplab.vm") / "selftest.c") as lines:
        return compiled("test_zswap", FLAGS, [*parts, lines], str(parts[0]))


def _busybox() -> bytes:
    package = fetch("busybox-static", re.compile(r"\./(usr/)?bin/busybox$"))
    return next(package.glob("**/bin/busybox")).read_bytes()


def run_selftest(
    kernel: Kernel, source: Path, advance: Callable[[], None] = lambda: None, silence: float = SILENCE_SECONDS
) -> Selftest:
    """Run the test on a kernel, in a guest of 768 MiB.

    Args:
        source: a tree of the kernel's source, to compile it from.
        advance: called after each case.
        silence: seconds that a guest may be silent.

    Raises:
        InputError: the test is not in the source, or a module is broken.
        LostGuestError: the guest panicked or hung, or the test did not come to its end.
        SwaplabError: QEMU, a C compiler or a package is missing.
    """
    modules = load_order(MODULES, kernel.modules)
    executables = {
        "init": INIT.format(modules=" ".join(modules)).encode(),
        "busybox": _busybox(),
        "test": compile_selftest(source),
    }
    qemu = find_qemu()
    accelerator = find_accelerator(qemu, kernel.image)
    with scratch_directory() as directory:
        disks = Disks(directory / "initramfs", None, directory / "swap")
        disks.initramfs.write_bytes(
            archive({f"modules/{each}.ko": data for each, data in modules.items()}, executables)
        )
        write_swap(directory / "swap", SWAP)
        # What the guest has open is gone with it, however we end.
        listener = Listener(lambda: shutil.rmtree(directory), advance)
        command = command_line(qemu, kernel.image, accelerator, RAM, disks)
        asyncio.run(listen(command, listener, silence))
    return Selftest(listener.kernel, accelerator, tuple(listener.cases))
