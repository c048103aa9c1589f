"""Program files for ``swaplab check`` that are not what they have to be: a verdict, or for each program one line.

Run it with ``make quality``. The N-th file is the same every time. Each is checked in a process of its own, since files
are run, and some of these kill it.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.quality.readers import mutated

from swaplab.cli import check, main

SECONDS = 90
MEMORY = 4 << 30
STATUSES = (0, 1, 2, 3)
REFUSED = 2
# Ends of the process that is asked for: nothing could be said after them, and nothing is lost.
ENDS = {"SIGKILL": -signal.SIGKILL, "abort": -signal.SIGABRT, "KeyboardInterrupt": 128 + signal.SIGINT}

GOOD = """\
import asyncio, os, signal, sys, threading
from swaplab import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock

class Odd(Exception):
    def __str__(self): raise self

class Base(BaseException): pass

class Counter(Shared):
    value: int
    {body}
    def __init__(self):
        {first}
        self.lock = SpinLock(self, {label})
        self.value = {value}

def add(counter):
    with counter.lock:
        counter.value += {value}
        {step}

def reset(counter):
    WRITE_ONCE(counter).value = READ_ONCE(counter).value
    {step}

def is_sum(counter):
    {check}
    return {result}

{top}
one = Program({name}, {setup}, {tasks}, {invariants}, {control})
two = [Program("two", Counter, {{"a": add, "b": reset}})]
{end}
"""
USUAL = {
    "body": "pass",
    "first": "pass",
    "label": '"lock"',
    "value": "0",
    "step": "pass",
    "check": "pass",
    "result": "counter.value == 0",
    "top": "pass",
    "name": '"one"',
    "setup": "Counter",
    "tasks": '{"a": add, "b": add}',
    "invariants": '{"sum": is_sum}',
    "control": "None",
    "end": "pass",
}
VALUES = [
    "None", "0", "-1", "10**5000", "float('nan')", "''", "'\\x1b]0;x'", "'a\\nb'", "'\\ud800'", "b'x'", "[]", "{}",
    "()", "...", "object()", "object", "int", "Odd", "Odd()", "Counter", "Counter()", "add", "lambda *a: a",
    "lambda: 1", "print", "sys", "{1: add}", "{'': add}", "{'a': 1}", "{'a': None}", "[add]", "{'a': add, 'b': Odd}",
    "{'a\\nb': add}", "{'\\ud800': add}", "type('T', (), {'__call__': 1})()", "(x for x in ())", "add.__get__(1)",
    "asyncio.sleep", "is_sum", "threading.Lock()", "{str(n): add for n in range(300)}", "'x' * 10**6",
    "Program('c', Counter, {'a': add})", "one", "globals()", "SpinLock", "SpinLock(None, 'x')", "Shared()",
    "iter(())", "range(10**12)", "{'a': lambda c: (yield)}", "True", "1j",
]  # fmt: skip
STATEMENTS = [
    "raise SystemExit", "raise SystemExit('x')", "raise KeyboardInterrupt", "raise GeneratorExit",
    "raise Base('x\\ny')", "raise Odd", "raise StopIteration", "raise MemoryError", "raise RecursionError",
    "raise ExceptionGroup('x', [Odd()])", "os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()",
    "os.fork()", "sys.exit(7)", "quit()", "threading.Thread(target=print).start()", "os.execv('/bin/true', ['true'])",
    "add(None)", "is_sum(is_sum)", "print('\\x1b]0;x', '\\ud800')", "sys.stdout.close()", "os.close(1)",
    "os.close(2)", "sys.stdout = None", "sys.stderr = None", "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "signal.alarm(0)", "[0] * 10**12", "sys.setrecursionlimit(40)", "sys.path.clear()", "counter.value = object()",
    "del counter.value", "counter.__class__ = int", "counter.lock = None", "counter.lock.acquire()",
    "counter.lock.release()", "counter.other = 1", "vars(counter).clear()", "self.lock = 1", "self.value = Odd()",
    "del self.lock", "return 1", "yield 1", "return Odd()", "sys.settrace(None)", "sys.setprofile(print)",
    "import gc; gc.collect()", "assert False, Odd()", "assert 0, 'a\\nb'", "1 / 0", "while True: counter.value",
    "value = property(lambda s: 1)", "__slots__ = ()", "__eq__ = None", "__hash__ = None",
    "def __getattribute__(s, n): raise Odd", "def __setattr__(s, n, v): raise Base", "def __repr__(s): raise Odd",
    "def __del__(s): raise Odd", "def __init_subclass__(c): raise Odd", "__module__ = 7", "Program = None",
    "Counter.value = 3", "one = two = 1", "global Counter; Counter = None", "from nowhere import x", "import x",
    "exec('x = (')", "sys.argv.clear()", "os.chdir('/')", "os.environ.clear()", "__name__ = '__main__'",
    "breakpoint = 1; input()", "raise", "async def f(): pass",
]  # fmt: skip


def program(choose: random.Random) -> str:
    """A good file with one to three places that are not, or one of which some bytes are others."""
    if not choose.randrange(6):
        return mutated([GOOD.format(**USUAL).encode()], choose).decode(errors="surrogateescape")
    chosen = dict(USUAL)
    for place in choose.sample([*USUAL], choose.choice([1, 1, 2, 3])):
        chosen[place] = choose.choice(STATEMENTS if USUAL[place] == "pass" else VALUES)
    return GOOD.format(**chosen)


def outcome(path: Path, text: str, jobs: int) -> str:
    """``a verdict``, ``refused``, ``ended by itself``, or what must not be."""
    path.write_bytes(text.encode(errors="surrogateescape"))
    with Path("said").open("w+b") as said:
        if not (pid := os.fork()):
            _child(path, said.fileno(), jobs)
        status = _status(pid)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    if any("Traceback" in line for line in lines):
        return f"traceback: {' | '.join(lines[-6:])[:800]}"
    if any(word in text and status == end for word, end in ENDS.items()):
        return "ended by itself"
    if status not in STATUSES:
        return f"more than {SECONDS} seconds" if status is None else f"status {status}: {lines[-1:]}"
    return "a verdict" if status != REFUSED else _refused(path, text, lines)


def _refused(path: Path, text: str, lines: list[str]) -> str:
    told = [line for line in lines if "swaplab: " in line]  # the program may have begun that line
    is_named = bool(told) and all(path.name in line and "\x1b" not in line for line in told)
    closes = "os.close(2)" in text or "sys.stderr" in text
    return "refused" if is_named or closes else f"what file? {(told or lines[-2:])!r:.300}"


def _child(path: Path, said: int, jobs: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.setsid()
    for descriptor, to in enumerate((os.open(os.devnull, os.O_RDWR), os.open(os.devnull, os.O_RDWR), said)):
        os.dup2(to, descriptor)
    sys.argv = ["swaplab", "check", str(path), "--executions", "200", "-j", str(jobs)]
    status = 99
    try:
        main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 98
    except BaseException as error:
        os.write(2, "".join(traceback.format_exception(error)).encode(errors="replace"))
    finally:
        os.kill(os.getpid(), status) if status < 0 else os._exit(status)


def _status(pid: int) -> int | None:
    """Wait for a process; kill its session and return None if that takes too long."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def run() -> None:
    """Try all files, and exit with status 1 if one does what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    arguments = parser.parse_args()
    counts, began, slowest = Counter[str](), time.monotonic(), 0.0
    _ = check  # imported here, so that no child has to
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for number in range(arguments.first, arguments.first + arguments.inputs):
            choose = random.Random(f"program {number}")  # noqa: S311 - for the same every time
            at = time.monotonic()
            found = outcome(Path("x.py"), program(choose), 1 if number % 10 else 2)
            slowest = max(slowest, time.monotonic() - at)
            if found not in ("a verdict", "refused", "ended by itself"):
                print(f"program {number}: {found}", flush=True)  # noqa: T201
                found = "wrong"
            counts[found] += 1
        os.chdir("/")
    seconds = time.monotonic() - began
    print(  # noqa: T201
        f"programs: {arguments.inputs:,} from number {arguments.first}: {counts['a verdict']:,} verdicts, "
        f"{counts['refused']:,} refused, {counts['ended by itself']:,} ended by themselves, {counts['wrong']:,} wrong; "
        f"{seconds:.0f} s, {slowest:.1f} s at most"
    )
    sys.exit(bool(counts["wrong"]))


if __name__ == "__main__":
    run()
