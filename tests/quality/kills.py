"""Every command that writes, ended at random moments: nothing of it stays but whole files, and the next run works.

Run it with ``make quality``. The N-th kill is the same every time, as far as the machine is as fast.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.quality.writers import MARK, WRITERS, clear, left, prepare, started

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
GONE_SECONDS = 5.0
LONGEST = 300.0


def processes(mark: str) -> Iterator[int]:
    """Processes that have the mark in their environment, and are not just waiting to be reaped."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                if f"{MARK}={mark}".encode() in (directory / "environ").read_bytes():
                    yield int(directory.name)
            except OSError:
                pass


def staying(mark: str) -> int:
    """Wait for processes to end; kill, and count, those that do not."""
    deadline = time.monotonic() + GONE_SECONDS
    while alive := list(processes(mark)):
        if time.monotonic() > deadline:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            return len(alive)
        time.sleep(0.02)
    return 0


def wait_for_main(process: subprocess.Popen[bytes]) -> None:
    """Wait until there is more than Python, which catches ctrl-C and says so: the program does not while it imports."""
    was_caught = is_caught = False
    while process.poll() is None and not (was_caught and not is_caught):
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        was_caught, is_caught = was_caught or is_caught, bool(caught >> (signal.SIGINT - 1) & 1)
        time.sleep(0.002)


def kill(name: str, number: int, seconds: float, directory: Path) -> str:
    """End a command at a moment of its own; return what is wrong then, empty if nothing is."""
    choose = random.Random(f"{name} {number}")  # noqa: S311 - for the same every time
    which, group = SIGNALS[number % len(SIGNALS)], number // len(SIGNALS) % 2
    mark = f"{os.getpid()}-{name}-{number}"
    before = left(name, directory)  # what SIGKILL left, until a run gets as far as to sweep it
    process = started(name, directory, mark)
    wait_for_main(process)
    time.sleep(choose.random() * seconds)
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, which)
    _, said = process.communicate(timeout=LONGEST)
    how = f"{which.name} to {'the group' if group else 'it'}"
    if b"Traceback" in said:
        return f"{how}: {said.decode().strip().splitlines()[-1]}"
    if stay := staying(mark):
        return f"{how}: {stay} processes stay"
    new = [each for each in left(name, directory) if each not in before]
    stays = [each for each in new if which != signal.SIGKILL or "/.swaplab-" not in each]
    return f"{how}: {stays} stays" if stays else ""


def main() -> None:
    """Kill all commands, and exit with status 1 if anything stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of each command; of those that take long, fewer")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--writers", default="", help="some of them, with commas; all if not given")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it runs in the background ignore it
    wrong = 0
    for name in arguments.writers.split(",") if arguments.writers else WRITERS:
        with tempfile.TemporaryDirectory() as scratch:
            kills = round(arguments.kills * WRITERS[name].share)
            wrong += _try(name, Path(scratch), arguments.first, kills)
    sys.exit(bool(wrong))


def _whole_run(name: str, directory: Path) -> tuple[float, list[str]]:
    """Seconds that a run takes from `wait_for_main` to its end, and what is wrong after it."""
    clear(name, directory)
    process = started(name, directory, mark := f"{os.getpid()}-whole")
    wait_for_main(process)
    began = time.monotonic()
    _, said = process.communicate(timeout=LONGEST)
    problems = [said.decode()[-300:]] if process.returncode else []
    if not (directory / WRITERS[name].output).exists():
        problems.append("no output")
    if stay := staying(mark):
        problems.append(f"{stay} processes stay")
    return time.monotonic() - began, problems + left(name, directory)


def _try(name: str, directory: Path, first: int, kills: int) -> int:
    prepare(name, directory)
    _whole_run(name, directory)  # compiles what is not yet compiled, which must not be what is killed
    seconds, problems = _whole_run(name, directory)
    counts = Counter[str]()
    for number in range(first, first + kills):
        clear(name, directory)
        if found := kill(name, number, seconds, directory):
            print(f"{name}, kill {number}: {found}")  # noqa: T201
        counts[SIGNALS[number % len(SIGNALS)].name + (" wrong" if found else "")] += 1
    problems += _whole_run(name, directory)[1]
    for each in problems:
        print(f"{name}, a whole run: {each}")  # noqa: T201
    wrong = len(problems) + sum(count for each, count in counts.items() if each.endswith("wrong"))
    print(  # noqa: T201
        f"{name}: {kills} kills in {seconds:.1f} s of work, from number {first}, {dict(counts)}: {wrong} wrong",
        flush=True,
    )
    return wrong


if __name__ == "__main__":
    main()
