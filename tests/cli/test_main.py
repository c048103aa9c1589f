"""Ctrl-C while a command is imported ends it, whatever the import does with exceptions."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swaplab.cli import main

PROGRAM = """
import sys, time
from importlib.abc import MetaPathFinder
class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "swaplab.host.profile":
            print("importing", flush=True)
            try:
                time.sleep(30)
            except BaseException:
                pass
sys.meta_path.insert(0, Slow())
sys.argv = ["swaplab", "profile", "--help"]
from swaplab.__main__ import main
main()
"""


def test_ctrl_c_is_not_swallowed_by_an_import(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
    assert (process.returncode, out, said) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("error", ["ImportError('lib.so: failed to map segment')", "MemoryError()"])
def test_what_cannot_be_loaded_is_said_in_one_line(error: str) -> None:
    """As where `ulimit -v` leaves too little memory for it."""
    found = PROGRAM.split("print", maxsplit=1)[0] + f"raise {error}\n" + PROGRAM[PROGRAM.index("sys.meta_path") :]
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("swaplab: cannot be loaded: ")


def test_a_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    command = ["sh", "-c", 'rmdir "$PWD" && exec "$0" -m swaplab check idr-duplicate-id', sys.executable]
    (tmp_path / "gone").mkdir()
    done = subprocess.run(command, cwd=tmp_path / "gone", capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == 2
    assert done.stderr == "swaplab: the directory in which swaplab was started is no longer there\n"


@pytest.mark.parametrize("arguments", [["--version"], ["nonsense"], ["a.b"], []])
def test_the_command_line_is_clis(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "swaplab", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode == (2 if arguments in (["nonsense"], ["a.b"]) else 0)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], 'Unknown command "nonsense"'),
        (["run", "x.toml", "--nope"], "Unknown option: --nope"),
        (["trace", "head", "x", "-n", "-1"], 'Invalid value "-1" for -n'),
        (["run", "x.toml", "--repeat", "nan"], 'Invalid value for --repeat: unable to convert "nan" into int'),
        (["check", "-j"], "requires an argument"),
    ],
)
def test_a_command_line_that_is_none_is_refused_in_one_line(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["swaplab", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("swaplab: ")
    assert said in line
