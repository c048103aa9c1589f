"""Every command that writes, ended at random moments: nothing of it stays but whole files, and the next run works.

Run it with ``make quality``. The N-th kill is the same every time, as far as the machine is as fast.
"""

from __future__ import annotations

import argparse
import itertools
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

from swaplab.scenario.result import Result
from swaplab.scenario.trace import Trace

ROOT = Path(__file__).parents[2]
MAIN = "from swaplab.__main__ import main; main()"
MARK = "SWAPLAB_TESTED"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
GONE_SECONDS = 5.0
LONGEST = 120.0
COMMANDS = {
    "trace convert": ["trace", "convert", "in.csv", "out/t.parquet", "--window", "16"],
    "run -o": ["run", str(ROOT / "tests/warm_up.toml"), "-o", "out/r.parquet"],
    "calibrate -o": ["calibrate", "-o", "out/c.toml"],
    "record": ["record", "-o", "out/rec", "--", "sh", "-c", "sleep 0.2 & seq 30000 | sort | tail -1; wait"],
}


def processes(mark: str) -> Iterator[int]:
    """Processes that have the mark in their environment, and are not just waiting to be reaped."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                if f"{MARK}={mark}".encode() in (directory / "environ").read_bytes():
                    yield int(directory.name)
            except OSError:
                pass


def started(name: str, directory: Path, mark: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {MARK: mark, "TMPDIR": str(directory / "tmp")}
    return subprocess.Popen(  # noqa: S603 - own code
        [sys.executable, "-c", MAIN, *COMMANDS[name]],
        cwd=directory,
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for_main(process: subprocess.Popen[bytes]) -> None:
    """Wait until there is more than Python, which catches ctrl-C and says so: the program does not while it imports."""
    was_caught = is_caught = False
    while process.poll() is None and not (was_caught and not is_caught):
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        was_caught, is_caught = was_caught or is_caught, bool(caught >> (signal.SIGINT - 1) & 1)
        time.sleep(0.002)


def left(directory: Path) -> list[str]:
    """What is there that is not whole, or not an output."""
    found = [str(path) for path in (directory / "tmp").iterdir()]
    for path in (directory / "out").iterdir():
        try:
            match path.suffix:
                case ".parquet" if path.name == "t.parquet":
                    sum(len(chunk.page) for chunk in Trace.open(path).chunks())
                case ".parquet":
                    Result.read(path)
                case ".toml":
                    path.read_text().index("[decompress_ns]")
                case _ if path.name == "rec":
                    Trace.open(path / "trace.parquet")
                case _:
                    found.append(str(path))
        except Exception as error:
            found.append(f"{path}: {error!r}")
    return found


def kill(name: str, number: int, seconds: float, directory: Path) -> str:
    """End a command at a moment of its own; return what is wrong then, empty if nothing is."""
    choose = random.Random(f"{name} {number}")  # noqa: S311 - for the same every time
    which, group = SIGNALS[number % len(SIGNALS)], number // len(SIGNALS) % 2
    mark = f"{os.getpid()}-{name}-{number}"
    process = started(name, directory, mark)
    wait_for_main(process)
    time.sleep(choose.random() * seconds)
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, which)
    _, said = process.communicate(timeout=LONGEST)
    how = f"{which.name} to {'the group' if group else 'it'}"
    if b"Traceback" in said:
        return f"{how}: {said.decode().strip().splitlines()[-1]}"
    deadline = time.monotonic() + GONE_SECONDS
    while alive := list(processes(mark)):
        if time.monotonic() > deadline:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            return f"{how}: {len(alive)} processes stay"
        time.sleep(0.02)
    hidden = [each for each in left(directory) if which != signal.SIGKILL or "/.swaplab-" not in each]
    return f"{how}: {hidden} stays" if hidden else ""


def main() -> None:
    """Kill all commands, and exit with status 1 if anything stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of each command")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    arguments = parser.parse_args()
    wrong = 0
    for name in COMMANDS:
        with tempfile.TemporaryDirectory() as scratch:
            wrong += _try(name, Path(scratch), arguments.first, arguments.kills)
    sys.exit(bool(wrong))


def _whole_run(name: str, directory: Path) -> tuple[float, list[str]]:
    """Seconds of a run to its end, and what is wrong after it."""
    for path in (directory / "out").iterdir():
        subprocess.run(["rm", "-r", str(path)], check=True)  # noqa: S603, S607
    began = time.monotonic()
    process = started(name, directory, "whole")
    _, said = process.communicate(timeout=LONGEST)
    problems = [said.decode()[-300:]] if process.returncode else []
    return time.monotonic() - began, problems + left(directory)


def _try(name: str, directory: Path, first: int, kills: int) -> int:
    for each in ("out", "tmp"):
        (directory / each).mkdir()
    rows = itertools.chain(["time,page"], (f"{i},{i * i % 9973}" for i in range(400_000)))
    (directory / "in.csv").write_text("\n".join(rows) + "\n")
    seconds, problems = _whole_run(name, directory)
    counts = Counter[str]()
    for number in range(first, first + kills):
        if found := kill(name, number, seconds, directory):
            print(f"{name}, kill {number}: {found}")  # noqa: T201
        counts[SIGNALS[number % len(SIGNALS)].name + (" wrong" if found else "")] += 1
        for path in (directory / "out").glob("rec"):
            subprocess.run(["rm", "-r", str(path)], check=True)  # noqa: S603, S607
    problems += _whole_run(name, directory)[1]
    for each in problems:
        print(f"{name}, a whole run: {each}")  # noqa: T201
    wrong = len(problems) + sum(count for each, count in counts.items() if each.endswith("wrong"))
    print(f"{name}: {kills} kills from number {first}, {dict(counts)}: {wrong} wrong")  # noqa: T201
    return wrong


if __name__ == "__main__":
    main()
