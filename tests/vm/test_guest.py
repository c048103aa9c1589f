"""Guests that are lost, played by shell scripts: none of them is a result, and none stays running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swaplab.vm.guest import LostGuestError, Report, listen

SILENCE = 0.4


def hear(text: str, silence: float = SILENCE) -> list[Report]:
    heard: list[Report] = []
    asyncio.run(listen(["sh", "-c", text], heard.append, silence))
    return heard


def test_reports_are_heard_until_the_last() -> None:
    script = """echo '{"progress": 1}'; echo '{"progress": 2}'; echo '{"done": true}'; echo '{"more": 1}'; sleep 60"""
    assert hear(script) == [{"progress": 1}, {"progress": 2}, {"done": True}]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("""echo '{"progress": 1}'""", "it ended before it was done"),
        ("sleep 60", "nothing new came from it for 0.4 seconds"),
        ("""while echo '{"progress": 7}'; do sleep 0.05; done""", "nothing new came from it for 0.4 seconds"),
        ("echo hello", "it reported b'hello"),
        ("echo 7", "it reported b'7"),
        (r"""printf '{"progress": "\377"}\n'""", 'it reported b\'{"progress": "\\xff"}'),
        ("""printf '%5000s\n' | tr ' ' '['""", "it reported b'[[["),
        ("""printf '{"done": true}'""", "it reported b'{\"done\": true}'"),
        ("""echo '{"error": "no zswap"}'; sleep 60""", "no zswap"),
    ],
)
def test_a_lost_guest_is_an_error(script: str, why: str) -> None:
    with pytest.raises(LostGuestError) as error:
        hear(f"echo 'BUG: \033[31msomething' >&2; {script}")
    assert error.value.why.startswith(why)
    assert r"BUG: \x1b[31msomething" in str(error.value), "the console, but nothing that a terminal obeys"


def test_only_the_end_of_the_console_is_shown() -> None:
    with pytest.raises(LostGuestError) as error:
        hear("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2")
    shown = str(error.value).splitlines()
    assert shown[-1].strip() == "line 19999"
    assert len(shown) < 80


def test_an_empty_console_is_said() -> None:
    with pytest.raises(LostGuestError, match="its console is empty"):
        hear("exit 0")


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_guest_ends_with_what_its_listener_raises(tmp_path: Path) -> None:
    def refuse(_report: Report) -> None:
        raise LostGuestError("not like that")

    script = f"""echo $$ >{tmp_path}/pid; echo '{{"progress": 1}}'; exec sleep 60"""
    with pytest.raises(LostGuestError, match="not like that"):
        asyncio.run(listen(["sh", "-c", script], refuse))
    assert not is_there(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_guest_ends_with_us(number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    guest = ["sh", "-c", f"echo $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 60"]
    code = f"""
import asyncio, signal
from swaplab.vm.guest import listen
signal.signal(signal.SIGINT, signal.default_int_handler)
asyncio.run(listen({guest!r}, print))
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:  # noqa: S603
        while not pid.exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, number)
        process.wait(10)
    for _ in range(200):
        if not is_there(int(pid.read_text())):
            return
        time.sleep(0.01)
    pytest.fail("the guest is still there")
