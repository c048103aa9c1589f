"""The entry point: help for everything, one line and a status for what goes wrong."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swaplab import __version__
from swaplab.cli import app, main
from swaplab.errors import InputError

TRACE = ("info", "head", "convert")
HELP = [[], *([name] for name in app if not name.startswith("-")), *(["trace", name] for name in TRACE)]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["swaplab", *arguments])
    try:
        main()
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_help_has_an_example(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run(monkeypatch, *command, "--help")
    shown = capsys.readouterr().out
    assert f"Example: swaplab {' '.join(command)}".rstrip() in shown


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run(monkeypatch, "--version")
    assert capsys.readouterr().out.strip() == __version__ == importlib.metadata.version("swaplab")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("a.toml: name", "text", 3), 2, "swaplab: a.toml: name: expected text, found 3\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a.toml"),
            2,
            "swaplab: [Errno 2] No such file or directory: 'a.toml'\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr("swaplab.cli.app", fail)
    assert run(monkeypatch, "run") == status
    assert capsys.readouterr() == ("", said)


def test_a_mistyped_command_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "rnu")
    assert 'Did you mean "run"' in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    trace = Path(__file__).parents[2] / "scenarios/recordings/index/trace.parquet"
    command = [sys.executable, "-c", "from swaplab.cli import main; main()", "trace", "head", str(trace), "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)  # noqa: S603
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
