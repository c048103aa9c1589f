"""Whether the program that a command runs can be recorded."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from swaplab.errors import InputError
from swaplab.scenario.regular import open_regular

__all__ = ["check_program"]

_SCRIPTS_MAX: Final = 4  # interpreters of interpreters, fs/exec.c:exec_binprm
_X86_64: Final = 62
_MACHINES: Final = {
    3: "i386",
    40: "ARM",
    183: "AArch64",
    243: "RISC-V",
    22: "s390",
    21: "ppc64",
    258: "LoongArch",
}


def check_program(command: Sequence[str]) -> None:
    """Look at the program that a shell would find, and at the interpreters that the kernel would run.

    Raises:
        InputError: there is no such program, or it (or its interpreter) is not an ELF program for x86-64, or would get
            rights that it loses when it is recorded.
    """
    if not command:
        raise InputError("command", "a program to run", "nothing")
    found = shutil.which(command[0])
    if found is None:
        raise InputError("command", "a program (on PATH or by path) that may be executed", repr(command[0]))
    program = Path(found).absolute()
    for _ in range(_SCRIPTS_MAX + 1):
        head = _head(program)
        if not head.startswith(b"#!"):
            _check_elf(program, head)
            _check_rights(program)
            return
        program = Path(_interpreter(program, head))
    raise InputError(found, f"at most {_SCRIPTS_MAX} interpreters in a row", "more")


def _head(path: Path) -> bytes:
    try:
        with open_regular(path, "command") as file:
            return file.read(256)
    except FileNotFoundError:
        raise InputError("command", "a program that exists", path) from None


def _interpreter(script: Path, head: bytes) -> str:
    words = os.fsdecode(head[2:].split(b"\n")[0]).split()
    if not words:
        raise InputError(script, 'an interpreter behind "#!"', "none")
    return words[0]


def _check_elf(path: Path, head: bytes) -> None:
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        raise InputError(path, "an ELF program or a script that starts with #!", repr(head[:4]))
    bits = 64 if head[4] == 2 else 32
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    if (bits, machine) != (64, _X86_64):
        name = _MACHINES.get(machine, f"ELF machine {machine}")
        raise InputError(path, "a 64-bit program for x86-64", f"a {bits}-bit one for {name}")


def _check_rights(path: Path) -> None:
    status = path.stat()
    user = status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid()
    group = status.st_mode & stat.S_ISGID and status.st_mode & stat.S_IXGRP and status.st_gid != os.getegid()
    if user or group:
        raise InputError(path, "a program that runs with your rights", "setuid" if user else "setgid")
