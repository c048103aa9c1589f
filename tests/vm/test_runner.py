"""The library by which QEMU's threads take turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.process import run
from swaplab.vm.runner import turns_bytes

PROGRAM = """
#include <stdio.h>
_Bool NAME(void) { return 0; }
int main(void) { puts("it runs"); }
"""


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("bql_locked", 0, "it runs\n"),
        ("qemu_mutex_iothread_locked", 0, "it runs\n"),
        ("lock", 1, "turns: QEMU has no bql_locked() or qemu_mutex_iothread_locked()\n"),
    ],
)
def test_it_takes_programs_that_have_qemus_lock_by_either_name(
    name: str, status: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "turns.so").write_bytes(turns_bytes())
    (tmp_path / "qemu.c").write_text(PROGRAM)
    program = tmp_path / "qemu"
    assert run(["cc", "-rdynamic", f"-DNAME={name}", "-o", str(program), f"{program}.c"]).returncode == 0
    done = run(["env", f"LD_PRELOAD={tmp_path / 'turns.so'}", str(program)])
    assert (done.returncode, done.stdout + done.stderr) == (status, said)
