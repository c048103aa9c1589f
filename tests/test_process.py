"""Children end with their parents, and what a killed process leaves is cleaned up by its guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swaplab.process import apart, end_on_signals, guarded

PARENT = """
import os, subprocess, sys
from swaplab.process import with_parent
child = subprocess.Popen(["sleep", "60"], preexec_fn=with_parent())
print(child.pid, flush=True)
sys.stdin.read()
"""
WORKERS = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from swaplab.process import become_worker, end_on_signals, holding_signals
if __name__ == "__main__":
    end_on_signals()
    with ProcessPoolExecutor(2, get_context(sys.argv[1]), become_worker, (os.getpid(),)) as pool:
        with holding_signals():
            futures = [pool.submit(time.sleep, 60) for _ in range(4)]
        try:
            print("started", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            os._exit(5)
"""
GUARDED = """
import os, sys
from pathlib import Path
from typing import Any
from swaplab.process import guarded
with guarded(Path(sys.argv[1]).rmdir):
    print("ready", flush=True)
    sys.stdin.read()
"""


def started(program: str, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    """A process of its own group, and the first line that it printed."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().decode()


def soon(is_so: Callable[[], bool]) -> bool:
    for _ in range(500):
        if is_so():
            return True
        time.sleep(0.01)
    return False


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(number: int) -> None:
    process, line = started(PARENT)
    with process:
        process.send_signal(number)
        process.wait()
        assert soon(lambda: is_gone(int(line)))


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_guard_cleans_up_after_a_process_that_is_killed(send: Callable[[int, int], None], tmp_path: Path) -> None:
    directory = tmp_path / "left"
    directory.mkdir()
    process, _ = started(GUARDED, str(directory))
    with process:
        send(process.pid, signal.SIGKILL)
        process.wait()
        assert soon(lambda: not directory.exists())


def test_a_guard_does_nothing_in_the_end(tmp_path: Path) -> None:
    with guarded(tmp_path.rmdir):
        pass
    with pytest.raises(RuntimeError, match="of the block"), guarded(tmp_path.rmdir):
        raise RuntimeError("of the block")
    assert tmp_path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_process_as_ctrl_c_does(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    before_ctrl_c = signal.getsignal(signal.SIGINT)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        end_on_signals()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)
        end_on_signals()
        os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
        signal.signal(signal.SIGINT, before_ctrl_c)


ENDED = """
import signal, threading
from swaplab.process import end_on_signals
def fail():
    failing.wait()
    raise ValueError
end_on_signals()
failing = threading.Event()
thread = threading.Thread(target=fail)
thread.start()
try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    failing.set()
    thread.join()
"""


def test_other_threads_fail_in_silence_once_a_signal_has_come() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDED], capture_output=True, check=True)  # noqa: S603
    assert ended.stderr == b""


APART = """
import os, sys, time
from swaplab.process import apart, end_on_signals
def work():
    print(os.getpid(), flush=True)
    time.sleep(60)
    return 0
end_on_signals()
apart(work)
"""


def test_what_is_done_apart_has_a_status_of_its_own() -> None:
    assert apart(lambda: 0) == 0
    assert apart(lambda: 3) == 3
    ends: dict[str, Callable[[], Any]] = {
        "with status 0": lambda: os._exit(0),
        "by SIGKILL": lambda: signal.raise_signal(signal.SIGKILL),
    }
    for how, end in ends.items():
        with pytest.raises(ChildProcessError, match=f"ended {how}"):
            apart(end)
    with pytest.raises(ChildProcessError, match="ended with status 0"):
        apart(lambda: os.execv("/bin/true", ["true"]))  # noqa: S606


def test_signals_reach_what_is_done_apart() -> None:
    process, child = started(APART)
    with process:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=20) != 0
    assert not Path("/proc", child).exists()


@pytest.mark.parametrize("context", ["spawn", "fork"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_say_nothing_of_what_ends_the_group(context: str, number: int, tmp_path: Path) -> None:
    """Sent while they start, when a process of Python's has no handlers yet but for ctrl-C."""
    (tmp_path / "program.py").write_text(WORKERS)
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, str(tmp_path / "program.py"), context],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 5
    assert b"Traceback" not in said


def test_what_a_signal_leaves_half_made_says_nothing() -> None:
    """Compilers are interrupted in constructors, and their destructors then miss what was not made yet."""
    program = """
import os, signal
from swaplab.process import end_on_signals
class Half:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
        self.made = True
    def __del__(self):
        self.made
end_on_signals()
try:
    Half()
except KeyboardInterrupt:
    pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)  # noqa: S603
    assert done.stderr == b""
