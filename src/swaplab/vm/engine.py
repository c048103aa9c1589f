"""Scenarios on a real kernel, from end to end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from swaplab.errors import SwaplabError, UnsupportedError
from swaplab.files import scratch_directory
from swaplab.linux.page import PAGE_SIZE
from swaplab.process import Ended
from swaplab.result import Guest, Result, RunInfo
from swaplab.scenario.accesses import Accesses, Chunk
from swaplab.scenario.model import Scenario
from swaplab.scenario.timeline import sample_positions
from swaplab.scenario.tree import pre_order
from swaplab.vm.contents import Memory, checksums, contents_of
from swaplab.vm.files import FILE_SYSTEM, disk_of
from swaplab.vm.guest import SILENCE_SECONDS, LostGuestError, Report, listen
from swaplab.vm.initramfs import archive
from swaplab.vm.kernel import Kernel, with_file_system
from swaplab.vm.memory import MIB, Sizes, sizes_for
from swaplab.vm.modules import load_order
from swaplab.vm.qemu import (
    INSTRUCTION_NS,
    QUIET_CMDLINE,
    QUIET_CPU,
    Accelerator,
    find_accelerator,
    find_qemu,
    quiet_command_line,
)
from swaplab.vm.readings import Reading, parse, table
from swaplab.vm.runner import FILES, SOURCE, TURNS, file_runner_bytes, runner_bytes, turns_bytes
from swaplab.vm.script import refuse, script_for, watched_files

__all__ = ["dry_run", "fingerprint", "guest_version", "run_on_kernel"]

Progress = Callable[[int, int], None]

DIGITS = 16  # of a hash
BOOTS = 4
OPERATION, OPERATION_WORDS = 1 << 31, 4
PAGE_TABLE_ENTRY = 16  # runner.c's struct page

DRIVERS = ("zsmalloc", "null_blk")


class _ShortError(Exception):
    """The guest needs so many bytes more memory."""

    def __init__(self, short: int) -> None:
        self.short = short


class _Listener:
    """Understands the reports of one guest."""

    def __init__(
        self, scenario: Scenario, accesses: Accesses, progress: Progress, settled: Callable[[], None] = lambda: None
    ) -> None:
        self._scenario, self._accesses, self._progress, self._settled = scenario, accesses, progress, settled
        self._watched = watched_files(scenario)
        self.expected = [0, *sample_positions(scenario, accesses.total)]
        self.kernel = ""
        self.free = 0
        self.total = 0
        self.readings: list[Reading] = []
        self.sums: dict[int, int] = {}
        self.was_killed = False
        self.heard = hashlib.sha256()

    def __call__(self, report: Report) -> None:
        self.heard.update(msgspec.json.encode(report))
        try:
            self._hear(report)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise LostGuestError(f"it reported {str(report)[:200]} ({error!r})") from None

    def _hear(self, report: Report) -> None:
        if "hello" in report:
            self.kernel = report["hello"].strip()
            if len(self.kernel.split()) < 3:
                raise ValueError("not Linux version ...")
        elif "lacks" in report:
            asked = f"{self._scenario.source}: {report['key']}"
            raise UnsupportedError(f"{asked}: Linux {self.kernel.split()[2]} has no {report['lacks']}")
        elif "settled" in report:
            self.free, self.total = int(report["settled"]), int(report["total"])
            if report["found"] < self._scenario.machine.memory:
                raise _ShortError(self._scenario.machine.memory - report["found"] + 4 * MIB)
            self._settled()
        elif "progress" in report:
            self._progress(min(report["progress"], self._accesses.total), self._accesses.total)
        elif "sample" in report:
            self._hear_sample(report)
        elif "contents" in report:
            if report["contents"] not in range(len(self._accesses.task_workload)):
                raise ValueError("no such task")
            self.sums[report["contents"]] = report["sum"]
        elif "killed" in report:
            self.was_killed = True
        elif "done" in report and len(self.readings) != len(self.expected):
            raise LostGuestError(f"it sampled {len(self.readings)} times, not {len(self.expected)}")

    def _hear_sample(self, report: Report) -> None:
        position = report["sample"]
        wanted = self.expected[len(self.readings)] if len(self.readings) < len(self.expected) else None
        if position != wanted:
            raise LostGuestError(f"it sampled after {position} accesses, not {wanted}")
        removed = [event.cgroup for event in self._scenario.events if event.remove and event.at <= position]
        self.readings.append(parse(report, self._watched, removed))
        self._progress(position, self._accesses.total)


def _words(chunk: Chunk) -> NDArray[np.uint32]:
    """Accesses and operations as runner.c takes them: four words before its access for each operation."""
    ops = np.empty((len(chunk.ops), OPERATION_WORDS), np.uint32)
    ops[:, 0] = chunk.ops["op"].astype(np.uint32) | OPERATION
    for word, name in enumerate(("page", "pages", "other"), 1):
        ops[:, word] = chunk.ops[name]
    return np.insert(chunk.accesses, np.repeat(chunk.ops["at"], OPERATION_WORDS), ops.ravel())


def _trace(accesses: Accesses, is_ended: Callable[[], bool]) -> tuple[bytes, Memory]:
    """Return all accesses for the guest, and what its memory holds in the end."""
    is_file = np.repeat(accesses.task_file, np.diff(accesses.task_first))
    memory, trace = Memory(is_file), bytearray()
    for chunk in accesses.chunks():
        if is_ended():
            break
        trace += _words(chunk).tobytes()
        memory.follow(chunk)
    return bytes(trace), memory


def _never() -> bool:
    return False


def _modules(scenario: Scenario, kernel: Kernel) -> dict[str, bytes]:
    if not scenario.has_file_memory:
        return load_order([*DRIVERS, scenario.zswap.compressor], kernel.modules)
    return load_order([*DRIVERS, *FILE_SYSTEM, scenario.zswap.compressor], with_file_system(kernel).modules)


class _Prepared:
    """All that a guest takes, in a directory of its own."""

    def __init__(
        self, scenario: Scenario, seed: int, kernel: Kernel, directory: Path, is_ended: Callable[[], bool] = _never
    ) -> None:
        self.accesses = Accesses(scenario)
        self.scenario, self._seed, self._directory = scenario, seed, directory
        self._disk = disk_of(scenario, self.accesses)
        self._modules = _modules(scenario, kernel)
        self._contents = contents_of(scenario, self.accesses)
        self.initramfs, self.turns = directory / "initramfs", directory / "turns.so"
        if set(" :") & set(str(self.turns)):
            raise SwaplabError(f"{directory}, from where QEMU loads a library, has a space or a colon: set TMPDIR")
        self._trace, self._memory = _trace(self.accesses, is_ended)

    def write_boot_files(self, short: int) -> Sizes:
        """Write what the guest boots from; it gets `short` bytes of memory more than usual."""
        scenario, contents = self.scenario, self._contents
        files = {f"modules/{name}.ko": data for name, data in self._modules.items()}
        files |= {"samples": contents.samples.tobytes(), "kinds": contents.kinds.tobytes()}
        files |= {"components": contents.components, "trace": self._trace}
        files |= {"disk": self._disk.description()} if self._disk else {}
        own = sum(map(len, files.values())) + PAGE_TABLE_ENTRY * len(contents.kinds)
        on_disks = scenario.swap.size + (self._disk.blocks * PAGE_SIZE if self._disk else 0)
        sizes = sizes_for(scenario.machine.memory, scenario.zswap.max_pool_percent, own, on_disks, short)
        names = [f"{name}.ko" for name in self._modules]
        files["script"] = script_for(scenario, self.accesses, names, sizes.pool_percent, self._seed).encode()
        self.initramfs.write_bytes(archive(files, {"init": file_runner_bytes() if self._disk else runner_bytes()}))
        self.turns.write_bytes(turns_bytes())
        return sizes

    def remove_files(self) -> None:
        """Remove the files that a guest has open, so that they are gone with it, however we end."""
        shutil.rmtree(self._directory)

    def check(self, sums: dict[int, int], was_killed: bool) -> int:
        """Compare what the guest read back with what was written; return of how many tasks that was.

        Where a task was killed, what others share with it, or have from it, is not known.

        Raises:
            LostGuestError: they differ.
        """
        first = self.accesses.task_first
        expected = checksums(self._contents, first, self._memory)
        is_unsure = was_killed or any(event.exit for event in self.scenario.events)
        known = [task for task in sums if not (is_unsure and self._is_entangled(task))]
        for task in known:
            if sums[task] != expected[task]:
                raise LostGuestError(f"the memory of task {task} is not what was written to it")
        return len(known)

    def _is_entangled(self, task: int) -> bool:
        first = self.accesses.task_first
        return bool(self._memory.is_entangled[first[task] : first[task + 1]].any())


class _Bench(NamedTuple):
    """The arguments of a run beside its scenario."""

    seed: int
    kernel: Kernel
    qemu: str
    accelerator: Accelerator
    configuration: str
    silence: float


def run_on_kernel(
    scenarios: Sequence[Scenario],
    kernels: Sequence[Kernel],
    progress: Sequence[Progress] | None = None,
    configuration: str = "",
    silence: float = SILENCE_SECONDS,
    seeds: Sequence[int] | None = None,
) -> list[Result]:
    """Run scenarios, each on a machine of its own, as many at once as there are processors for.

    An emulated machine does the same each time, independent of the host, but for the time that a run takes.

    Args:
        kernels: for each, what to boot.
        seeds: for each, by which part of a tick of the kernel's it starts later; 0 is no later.
        progress: for each, what to call with accesses done and in all, now and then.
        silence: seconds that a guest may be silent.

    Raises:
        UnsupportedError: a scenario asks for something that a guest cannot be, or its kernel lacks.
        InputError: a trace, a content or a module is broken.
        LostGuestError: a guest panicked, hung, failed, or did not keep what was written to it.
        SwaplabError: QEMU or a C compiler is missing.
    """
    for scenario in scenarios:
        refuse(scenario)
    told = progress or [lambda _done, _total: None] * len(scenarios)
    qemu = find_qemu()
    benches = [
        _Bench(seed, kernel, qemu, find_accelerator(qemu, kernel.image), configuration, silence)
        for kernel, seed in zip(kernels, seeds or [0] * len(kernels), strict=True)
    ]
    ended: list[int] = []
    try:
        return asyncio.run(_run_all(list(zip(benches, scenarios, told, strict=True)), ended))
    except asyncio.CancelledError:
        raise Ended(*ended) from None


async def _run_all(runs: Sequence[tuple[_Bench, Scenario, Progress]], ended: list[int]) -> list[Result]:
    """Run all of them, or end them on a signal, which is then in `ended`."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine

    def end(number: int) -> None:
        ended[:] = [number]
        task.cancel()

    if threading.current_thread() is threading.main_thread():
        # Guests go with us in any case; their files do not.
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    # Of a guest's processor and its devices only one does something at a time.
    slots = asyncio.Semaphore(len(os.sched_getaffinity(0)))

    async def run_one(bench: _Bench, scenario: Scenario, told: Progress) -> Result:
        async with slots:
            return await _run(bench, scenario, told)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_one(*each)) for each in runs]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [each.result() for each in tasks]


async def _prepare(scenario: Scenario, seed: int, kernel: Kernel, directory: Path) -> _Prepared:
    """Make all files of a guest in a thread, which ends if this is cancelled: the rest would not be used."""
    ended = threading.Event()
    try:
        return await asyncio.to_thread(_Prepared, scenario, seed, kernel, directory, ended.is_set)
    finally:
        ended.set()


async def _run(bench: _Bench, scenario: Scenario, progress: Progress) -> Result:
    began = monotonic()
    with scratch_directory() as directory:
        prepared = await _prepare(scenario, bench.seed, bench.kernel, directory)
        sizes, listener = await _boot(bench, prepared, progress)
        checked = prepared.check(listener.sums, listener.was_killed)
    guest = Guest(
        kernel=listener.kernel,
        accelerator=bench.accelerator,
        ram=sizes.ram,
        free=listener.free,
        zswap_limit=listener.total * sizes.pool_percent // 100 if scenario.zswap.enabled else 0,
        footprint={path: each["memory.current"] for path, each in listener.readings[0].counters.items() if path},
        seconds=monotonic() - began,
        checked=checked,
        instruction_ns=INSTRUCTION_NS if bench.accelerator == "tcg" else 0,
        reports=listener.heard.hexdigest()[:DIGITS],
    )
    return _result(scenario, prepared.accesses, listener, bench.configuration, guest)


async def _boot(bench: _Bench, prepared: _Prepared, progress: Progress) -> tuple[Sizes, _Listener]:
    """Boot with more memory each time until there is enough.

    Once is not always enough: where a node ends decides what else the kernel puts there.
    """
    short = 0
    for _ in range(BOOTS):
        sizes = await asyncio.to_thread(prepared.write_boot_files, short)
        listener = _Listener(prepared.scenario, prepared.accesses, progress, prepared.remove_files)
        try:
            await listen(_command(bench, sizes, prepared.initramfs, prepared.turns), listener, bench.silence)
        except _ShortError as error:
            short += error.short
        else:
            return sizes, listener
    raise LostGuestError(f"it had too little memory in {BOOTS} boots, with {short} bytes more in the next")


def _command(bench: _Bench, sizes: Sizes, initramfs: Path, turns: Path) -> list[str]:
    return quiet_command_line(bench.qemu, bench.kernel.image, bench.accelerator, sizes, initramfs, turns)


def _result(scenario: Scenario, accesses: Accesses, listener: _Listener, configuration: str, guest: Guest) -> Result:
    info = RunInfo(
        engine="kernel",
        release=guest.release,
        scenario=scenario,
        configuration=configuration,
        accesses=accesses.total,
        workload_accesses=accesses.by_workload(),
        reconstructed=accesses.reconstructed(),
        guest=guest,
    )
    first, *readings = listener.readings
    return Result(info, table(first, readings, pre_order(scenario.cgroups)))


def dry_run(scenario: Scenario, kernel: Kernel) -> list[str]:
    """Return the command line that would run a scenario; of its own files it has the names only.

    Raises:
        As `run_on_kernel`, as far as it can be known.
    """
    refuse(scenario)
    qemu = find_qemu()
    bench = _Bench(0, kernel, qemu, find_accelerator(qemu, kernel.image), "", SILENCE_SECONDS)
    with scratch_directory() as directory:
        prepared = _Prepared(scenario, 0, kernel, directory)
        sizes = prepared.write_boot_files(0)
    return _command(bench, sizes, Path(prepared.initramfs.name), Path(prepared.turns.name))


def fingerprint(scenario: Scenario) -> str:
    """Return a hash of what a guest is given to run: 16 hexadecimal digits.

    Raises:
        InputError: a trace or a content is broken.
    """
    accesses = Accesses(scenario)
    contents = contents_of(scenario, accesses)

    def parts() -> Iterator[bytes]:
        yield script_for(scenario, accesses, (), scenario.zswap.max_pool_percent).encode()
        yield contents.samples.tobytes()
        yield contents.kinds.tobytes()
        yield contents.components
        if disk := disk_of(scenario, accesses):
            yield disk.description() + FILES.read_bytes()
        yield from (_words(chunk).tobytes() for chunk in accesses.chunks())

    return _hash(parts())


def guest_version() -> str:
    """Return a hash of what a guest is made of but for its kernel and what it is given: 16 hexadecimal digits."""
    settings = "\0".join([QUIET_CMDLINE, *QUIET_CPU.values(), str(INSTRUCTION_NS)])
    return _hash([SOURCE.read_bytes(), TURNS.read_bytes(), settings.encode()])


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:DIGITS]
