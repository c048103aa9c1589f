"""Find the program that a command runs, and check that the emulator can run it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from swaplab.errors import InputError
from swaplab.scenario.regular import open_regular

__all__ = ["find_program"]

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


def find_program(command: Sequence[str]) -> list[str]:
    """Search ``PATH`` as a shell does and put interpreters in front of scripts as the kernel does.

    Returns:
        What the program gets to see as its name, the absolute path of the program, then its arguments.

    Raises:
        InputError: there is no such program, or it (or its interpreter) is not an ELF program for x86-64.
    """
    if not command:
        raise InputError("command", "a program to run", "nothing")
    found = shutil.which(command[0])
    if found is None:
        raise InputError("command", "a program (on PATH or by path) that may be executed", repr(command[0]))
    program, arguments = Path(found).absolute(), list(command)
    for _ in range(_SCRIPTS_MAX + 1):
        head = _head(program)
        if not head.startswith(b"#!"):
            _check_elf(program, head)
            return [arguments[0], str(program), *arguments[1:]]
        before = _interpreter(program, head)
        arguments = [*before, str(program), *arguments[1:]]
        program = Path(before[0])
    raise InputError(found, f"at most {_SCRIPTS_MAX} interpreters in a row", "more")


def _head(path: Path) -> bytes:
    try:
        with open_regular(path, "command") as file:
            return file.read(256)
    except FileNotFoundError:
        raise InputError("command", "a program that exists", path) from None


def _interpreter(script: Path, head: bytes) -> list[str]:
    """Return the interpreter and, if there is one, its only argument."""
    words = os.fsdecode(head[2:].split(b"\n")[0].strip()).split(maxsplit=1)
    if not words:
        raise InputError(script, 'an interpreter behind "#!"', "none")
    return words


def _check_elf(path: Path, head: bytes) -> None:
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        raise InputError(path, "an ELF program or a script that starts with #!", repr(head[:4]))
    bits = 64 if head[4] == 2 else 32
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    if (bits, machine) != (64, _X86_64):
        name = _MACHINES.get(machine, f"ELF machine {machine}")
        raise InputError(path, "a 64-bit program for x86-64", f"a {bits}-bit one for {name}")
