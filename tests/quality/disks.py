"""Every command that writes, on disks that are full, read-only or failing, and where each write writes a part only.

Run it with ``make quality``. It mounts file systems, in a namespace of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.quality.writers import WRITERS, clear, left, prepare, started

SHORT_WRITES = Path(__file__).with_name("short_writes.c")
INSIDE = "SWAPLAB_INSIDE"
LONGEST = 600.0
REFUSED = 2


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[None]:
    """Have another file system at a directory."""
    subprocess.run(["mount", *options, str(at)], check=True)  # noqa: S603, S607
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)  # noqa: S603, S607


class Disks:
    """What may be wrong with a disk; each runs a writer on one, and returns what is wrong with that, if anything.

    Args:
        name: of the writer.
        directory: that was prepared for it.
        preload: the compiled ``short_writes.c``.
        size: bytes of what it writes when all is well.
    """

    def __init__(self, name: str, directory: Path, preload: Path, size: int) -> None:
        self._name, self._directory, self._preload, self._size = name, directory, preload, size
        writer = WRITERS[name]
        self._where = directory / ("cache" if writer.output.startswith("cache") else Path(writer.output).parent)

    def full(self, choose: random.Random) -> str:
        """Where the output goes there is less room than it takes."""
        kilobytes = max(4, int(choose.random() * self._size) >> 10)
        with mounted(self._where, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"):
            clear(self._name, self._directory)
            return self._run(may_fail=True)

    def full_temporary(self, choose: random.Random) -> str:
        """In the directory for temporary files there is no room."""
        kilobytes = choose.choice([4, 64, 1024])
        with mounted(self._directory / "tmp", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"):
            clear(self._name, self._directory)
            return self._run(may_fail=True)

    def read_only(self, choose: random.Random) -> str:
        """Where the output goes nothing may be written."""
        with mounted(self._where, "-t", "tmpfs", "tmpfs"):
            clear(self._name, self._directory)
            subprocess.run(["mount", "-o", "remount,ro", str(self._where)], check=True)  # noqa: S603, S607
            return self._run(may_fail=True)

    def short(self, choose: random.Random) -> str:
        """Each write writes half."""
        clear(self._name, self._directory)
        return self._run({"LD_PRELOAD": str(self._preload)}, may_fail=False)

    def failing(self, choose: random.Random) -> str:
        """After some bytes each write fails."""
        after = int(choose.random() * self._size)
        clear(self._name, self._directory)
        return self._run({"LD_PRELOAD": str(self._preload), "FAIL_AFTER": str(after)}, may_fail=True)

    def _run(self, environment: dict[str, str] | None = None, *, may_fail: bool) -> str:
        process = started(self._name, self._directory, "disk", environment)
        _, said = process.communicate(timeout=LONGEST)
        lines = said.decode().splitlines()
        if any(line.startswith("Traceback") for line in lines):
            return f"traceback: {lines[-1]}"
        if stays := left(self._name, self._directory):
            return f"{stays} stays"
        if process.returncode == 0:
            return ""
        if process.returncode != REFUSED or not may_fail:
            return f"status {process.returncode}: {lines[-3:]}"
        is_named = str(self._directory) in lines[-1] or WRITERS[self._name].output.partition("/")[0] in lines[-1]
        return "" if is_named and lines[-1].startswith("swaplab: ") else f"what file? {lines[-3:]}"


DISKS: dict[str, Callable[[Disks, random.Random], str]] = {
    "full": Disks.full,
    "no room for temporary files": Disks.full_temporary,
    "read-only": Disks.read_only,
    "short writes": Disks.short,
    "failing": Disks.failing,
}


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def _try(name: str, directory: Path, preload: Path, tries: int) -> int:
    prepare(name, directory)
    _, said = started(name, directory, "disk").communicate(timeout=LONGEST)
    size = _bytes(directory / WRITERS[name].output)
    if not size:
        print(f"{name}: {said.decode()[-300:]}")  # noqa: T201
        return 1
    disks, wrong, counts = Disks(name, directory, preload, size), 0, Counter[str]()
    for kind, run in DISKS.items():
        for number in range(tries if kind in ("full", "failing") else 1):
            counts[kind] += 1
            if found := run(disks, random.Random(f"{name} {kind} {number}")):  # noqa: S311 - for the same every time
                wrong += 1
                print(f"{name}, {kind} {number}: {found}")  # noqa: T201
    print(f"{name}: {dict(counts)}: {wrong} wrong", flush=True)  # noqa: T201
    return wrong


def main() -> None:
    """Try all writers, and exit with status 1 if one does what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=5, help="of each writer on a full and on a failing disk")
    parser.add_argument("--writers", default="", help="some of them, with commas; all if not given")
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        command = [
            "unshare",
            "--mount",
            *(["--map-root-user"] if os.geteuid() else []),
            sys.executable,
            "-m",
            __spec__.name,
        ]
        os.execvp(command[0], [*command, *sys.argv[1:]])  # noqa: S606
    wrong = 0
    for name in arguments.writers.split(",") if arguments.writers else WRITERS:
        with tempfile.TemporaryDirectory() as scratch:
            preload = Path(scratch) / "short_writes.so"
            compiler = ["cc", "-shared", "-fPIC", "-O2", "-o", str(preload), str(SHORT_WRITES)]
            subprocess.run(compiler, check=True)  # noqa: S603
            wrong += _try(
                name, Path(scratch) / "directory", preload, max(1, round(arguments.tries * WRITERS[name].share))
            )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
