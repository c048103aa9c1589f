"""``swaplab record`` from outside: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from swaplab.cli import app
from swaplab.cli.record import record
from swaplab.errors import InputError
from swaplab.scenario.load import load_scenario

SWAPLAB = [sys.executable, "-c", "import swaplab.cli; swaplab.cli.main()"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cli-record-cache"))
    (tmp_path_factory.getbasetemp() / "cli-record-cache").mkdir(exist_ok=True)


def test_the_summary_says_what_to_do_next(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record("sh", "-c", "echo hello; exit 3", output=tmp_path / "out")
    out, err = capfd.readouterr()
    assert out == "hello\n"
    assert "exited with status 3" in err
    assert err.endswith(f"next: swaplab run {tmp_path}/out/scenario.toml --compare\n")


def test_json_follows_what_the_program_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record("echo", "hello", output=tmp_path / "out", json=True)
    first, second = capfd.readouterr().out.splitlines()
    summary = msgspec.json.decode(second)
    assert first == "hello"
    assert summary["command"] == ["echo", "hello"]
    assert summary["accesses"] > summary["recorded"] > summary["pages"] > 10


@pytest.mark.parametrize("timed", [False, True])
def test_the_time_without_the_recorder_is_measured_or_said_to_be_estimated(
    timed: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record("sh", "-c", "echo $$; read x; echo $x", output=tmp_path / "out", timed=timed, json=True)
    *printed, summary = capfd.readouterr().out.splitlines()
    found = msgspec.json.decode(summary)
    (workload,) = load_scenario(tmp_path / "out/scenario.toml").workloads
    assert len(printed) == 2  # and not by the program without the recorder
    assert found["own_is_about"] is not timed
    assert workload.time is not None
    assert workload.time.is_about is not timed
    assert workload.time.ns == pytest.approx(found["own_seconds"] * 1e9, rel=0.01)


def test_what_is_timed_is_recorded_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--timed: expected all of the program recorded"):
        record("true", output=tmp_path / "out", timed=True, skip=1.0)


def test_the_directory_is_named_after_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app(["record", "--", "true", "-o", "x"], result_action="return_value")
    assert [path.name for path in tmp_path.iterdir()] == ["true.recording"]


def test_a_python_program_is_recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    python = str(Path(sys.executable).resolve())
    record(python, "-S", "-c", "print(len(bytearray(8 << 20)))", output=tmp_path / "out", json=True)
    printed, summary = capfd.readouterr().out.splitlines()
    assert printed == str(8 << 20)
    assert msgspec.json.decode(summary)["pages"] > 2048


def start(tmp_path: Path) -> subprocess.Popen[str]:
    """`swaplab record` of a shell that says its process id and then sleeps, in a process group of its own."""
    command = [
        *SWAPLAB,
        "record",
        "-o",
        str(tmp_path / "out"),
        "--",
        "sh",
        "-c",
        "echo $$; while :; do sleep 9; done",
    ]
    return subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_ctrl_c_ends_the_program_and_keeps_the_recording(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # what a terminal sends
        _, err = process.communicate()
    assert (process.returncode, "ended by SIGINT" in err) == (0, True)
    assert (tmp_path / "out" / "trace.parquet").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_ends_swaplab_ends_the_program_and_keeps_the_recording(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as process:
        assert process.stdout
        program = int(process.stdout.readline())
        process.send_signal(number)
        _, err = process.communicate()
    assert (process.returncode, f"ended by {number.name}; what was recorded until then is kept" in err) == (0, True)
    assert (tmp_path / "out" / "trace.parquet").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)


def test_a_kill_of_swaplab_leaves_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        assert process.stdout
        program = int(process.stdout.readline())
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 20
    while (list(tmp_path.iterdir()) or Path(f"/proc/{program}").exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
    assert not Path(f"/proc/{program}").exists()
