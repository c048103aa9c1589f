"""The guest's only program, compiled once and kept in the cache directory."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib import resources
from typing import Final

from swaplab.errors import SwaplabError
from swaplab.files import cache_dir, write_whole

__all__ = ["SOURCE", "runner_bytes"]

FLAGS: Final = ("-static", "-O2")
SOURCE: Final = resources.files("swaplab.vm") / "runner.c"


def runner_bytes() -> bytes:
    """Return the program; the first time it is compiled.

    Raises:
        SwaplabError: there is no C compiler or no static C library, or compiling fails.
        OSError: the cache directory is not writable or full.
    """
    key = hashlib.sha256("\0".join([*FLAGS, SOURCE.read_text()]).encode()).hexdigest()[:16]
    runner = cache_dir() / f"runner-{key}"
    if not runner.exists():
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise SwaplabError("running on a kernel needs a C compiler, once: apt-get install gcc libc6-dev")
        with resources.as_file(SOURCE) as path, write_whole(runner) as partial:
            command = [compiler, *FLAGS, "-o", str(partial), str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode:
                raise SwaplabError(f"the guest's runner does not compile: {done.stderr.strip()[-2000:]}")
    return runner.read_bytes()
