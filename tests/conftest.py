"""What holds for all tests: they find the same examples, leave no process, and leave the user's cache alone."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from hypothesis import settings

from swaplab.cache import cache_dir

PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h, 6.12
GONE_SECONDS = 5.0

settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
settings.load_profile("deterministic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guests first: they take longest, and should not be what one process is left with at the end."""
    items.sort(key=lambda item: "tests/vm/" not in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache directory for the session; compiled code is that of the user's."""
    compiled = cache_dir() / "compiled"
    compiled.mkdir(exist_ok=True)
    directory = tmp_path_factory.mktemp("cache")
    (directory / "swaplab").mkdir(mode=0o700)
    (directory / "swaplab/compiled").symlink_to(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory))
        yield


@pytest.fixture(scope="session", autouse=True)
def heeded_signals() -> None:
    """In the background of a shell ctrl-C is ignored, under nohup SIGHUP, and so by all that tests start and end."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def adopt_orphans() -> None:
    """Whatever processes of a test outlive those that started them become children of this one."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.fixture(autouse=True)
def no_process_is_left(adopt_orphans: None) -> Iterator[None]:
    """A test ends all that it started, and all that this started in turn."""
    before = children()
    yield
    deadline = time.monotonic() + GONE_SECONDS
    while left := children() - before:
        if time.monotonic() > deadline:
            names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"left running: {names}")
        time.sleep(0.01)


def children() -> set[int]:
    """Processes that this one started or adopted; those that have ended are reaped."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that has ended since
            found |= {int(pid) for pid in path.read_text().split()}
    found.discard(getattr(resource_tracker, "_resource_tracker")._pid)  # noqa: B009 - one for all, to the end
    for pid in [*found]:
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG):
                found.discard(pid)
    return found
