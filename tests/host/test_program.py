"""Which programs can be recorded, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.host.program import check_program


def executable(path: Path, head: bytes) -> str:
    path.write_bytes(head)
    path.chmod(0o755)
    return str(path)


def elf(bits: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([bits // 32, 1]) + bytes(12) + machine.to_bytes(2, "little")


def test_a_program_is_searched_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "tool", elf(64, 62))
    with pytest.raises(InputError, match="a program"):
        check_program(["tool", "-x"])
    monkeypatch.setenv("PATH", str(tmp_path))
    check_program(["tool", "-x"])


def test_interpreters_of_scripts_are_looked_at(tmp_path: Path) -> None:
    foreign = executable(tmp_path / "tool", elf(64, 183))
    inner = executable(tmp_path / "inner", f"#!{foreign}".encode())
    outer = executable(tmp_path / "outer", f"#! {inner} one argument \nrest".encode())
    with pytest.raises(InputError, match="tool: expected a 64-bit program"):
        check_program([outer, "x"])


def test_what_would_get_other_rights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(executable(tmp_path / "tool", elf(64, 62)))
    program.chmod(0o4755)
    check_program([str(program)])
    monkeypatch.setattr("os.geteuid", lambda: program.stat().st_uid + 1)
    with pytest.raises(InputError, match="runs with your rights, found setuid"):
        check_program([str(program)])


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (elf(64, 183), "a 64-bit one for AArch64"),
        (elf(32, 3), "a 32-bit one for i386"),
        (elf(64, 4711), "ELF machine 4711"),
        (b"\x7fELF", "found"),
        (b"echo", "b'echo'"),
        (b"", "b''"),
        (b"#!", "an interpreter behind"),
        (b"#!/nonexistent/sh", "/nonexistent/sh"),
    ],
)
def test_what_cannot_run_is_named(head: bytes, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=found):
        check_program([executable(tmp_path / "tool", head)])


def test_a_script_that_interprets_itself_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "script"
    with pytest.raises(InputError, match="at most 4 interpreters"):
        check_program([executable(script, f"#!{script}".encode())])


@pytest.mark.parametrize("command", [[], ["/"], ["no such program"]])
def test_no_program_is_an_error(command: list[str]) -> None:
    with pytest.raises(InputError, match="command: expected"):
        check_program(command)
