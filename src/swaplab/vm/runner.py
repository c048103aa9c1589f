"""The guest's programs, compiled once and kept in the cache directory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from swaplab.cache import cached_bytes
from swaplab.errors import SwaplabError
from swaplab.files import scratch_directory
from swaplab.process import run

__all__ = ["FILES", "SOURCE", "TURNS", "compiled", "file_runner_bytes", "runner_bytes", "turns_bytes"]

FLAGS: Final = ("-static", "-O2")
LIBRARY_FLAGS: Final = ("-shared", "-fPIC", "-O2")
SOURCE: Final = resources.files("swaplab.vm") / "runner.c"
FILES: Final = resources.files("swaplab.vm") / "files.c"
TURNS: Final = resources.files("swaplab.vm") / "turns.c"


def runner_bytes() -> bytes:
    """Return the program that runs scenarios; the first time it is compiled.

    Raises:
        SwaplabError: there is no C compiler or no static C library, or compiling fails.
        OSError: the cache directory is not writable or full.
    """
    with resources.as_file(SOURCE) as path:
        return compiled("runner", FLAGS, [path], "the guest's runner")


def file_runner_bytes() -> bytes:
    """Return the program that runs scenarios with files; the first time it is compiled.

    Raises:
        As `runner_bytes`.
    """
    included = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    with resources.as_file(FILES) as path, resources.as_file(SOURCE) as runner:
        flags = (*FLAGS, f"-I{runner.parent}", f"-DRUNNER={included}")
        return compiled("file-runner", flags, [path], "the guest's runner for files")


def turns_bytes() -> bytes:
    """Return the library by which QEMU's threads take turns; the first time it is compiled.

    Raises:
        As `runner_bytes`.
    """
    with resources.as_file(TURNS) as path:
        return compiled("turns", LIBRARY_FLAGS, [path], "the library for QEMU")


def compiled(name: str, flags: Sequence[str], sources: Sequence[Path], what: str) -> bytes:
    """Return a program or a library; the first time it is compiled.

    Args:
        name: in the cache directory.
        flags: of the compiler.
        sources: its files. Files that they include are taken to change only with them.
        what: how errors call it.

    Raises:
        SwaplabError: there is no C compiler or no static C library, or compiling fails.
        OSError: a source cannot be read, or the cache directory is not writable or full.
    """
    key = hashlib.sha256("\0".join([*flags, *(each.read_text() for each in sources)]).encode()).hexdigest()[:16]
    return cached_bytes(f"{name}-{key}", lambda: _compile(flags, sources, what))


def _compile(flags: Sequence[str], sources: Sequence[Path], what: str) -> bytes:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SwaplabError("running on a kernel needs a C compiler, once: apt-get install gcc libc6-dev")
    with scratch_directory() as directory:
        program = directory / "program"
        command = [compiler, *flags, "-o", str(program), *(str(each.absolute()) for each in sources)]
        done = run(command, directory)
        if done.returncode:
            said = " ".join(done.stderr.split())[-2000:]
            raise SwaplabError(f"{what} does not compile in {directory}: {said}")
        return program.read_bytes()
