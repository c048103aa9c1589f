"""Standard streams of every kind: closed, full, nobody at the other end, not UTF-8, narrow, dumb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "help": ["run", "--help"],
    "nothing": [],
    "table": ["trace", "head", "t.parquet"],
    "json": ["trace", "info", "t.parquet", "--json"],
    "report": ["trace", "info", "t.parquet"],
    "file": ["trace", "convert", "in.csv", "-"],
}
ERRORS = {"usage": ["nonsense\x1b]0;x"], "input": ["run", "no\x1b]0;x.toml"]}
MAIN = "from swaplab.cli import main; main()"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("streams")
    (directory / "in.csv").write_text("stream,time,page,write\n\x1b]0;x\x07\u202e\u00e9,1,7,r\nb,2,9,r\n")
    assert swaplab(directory, "trace", "convert", "in.csv", "t.parquet").returncode == 0
    return directory


def swaplab(
    directory: Path, *arguments: str, script: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run it; in a script, it is ``"$@"``."""
    command = [sys.executable, "-c", MAIN, *arguments]
    if script:
        command = ["bash", "-c", script, "bash", *command]
    return subprocess.run(  # noqa: S603 - own code
        command, cwd=directory, env=os.environ | environment, capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_nobody_reads_on(name: str, directory: Path) -> None:
    done = swaplab(directory, *COMMANDS[name], script='"$@" | true; exit ${PIPESTATUS[0]}')
    assert done.returncode in (0, 141)
    assert b"swaplab: " not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_closed(name: str, directory: Path) -> None:
    for closed in (">&-", "<&- >&- 2>&-"):
        done = swaplab(directory, *COMMANDS[name], script=f'"$@" {closed}')
        assert done.returncode in (0, 141), closed
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_full(name: str, directory: Path) -> None:
    done = swaplab(directory, *COMMANDS[name], script='"$@" >/dev/full')
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1].startswith("swaplab: [Errno 28] No space left on device")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "environment", [{"LANG": "C", "PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
@pytest.mark.parametrize("name", ["help", "table", "report", "json"])
def test_it_is_not_utf_8(name: str, environment: dict[str, str], directory: Path) -> None:
    done = swaplab(directory, *COMMANDS[name], **environment)
    assert done.returncode == 0
    assert not done.stderr
    assert b"\x1b" not in done.stdout
    assert all(byte < 128 for byte in done.stdout) or "PYTHONUTF8" in environment


@pytest.mark.parametrize("environment", [{"COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb"}, {"COLUMNS": "1"}])
@pytest.mark.parametrize("name", [*COMMANDS, *ERRORS])
def test_terminals_are_of_every_kind(name: str, environment: dict[str, str], directory: Path) -> None:
    done = swaplab(directory, *{**COMMANDS, **ERRORS}[name], **environment)
    assert done.returncode == (2 if name in ERRORS else 0)
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stderr
    if name != "file":
        assert b"\x1b" not in done.stdout


def test_names_are_shown_and_kept(directory: Path) -> None:
    assert rb"\x1b]0;x\x07\u202e" in swaplab(directory, *COMMANDS["table"], COLUMNS="100").stdout
    assert rb"\u001b]0;x\u0007\u202e" in swaplab(directory, *COMMANDS["json"]).stdout
