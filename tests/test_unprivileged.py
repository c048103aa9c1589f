"""What may not be read or written is refused in one line that names it; where nothing can be kept, all still works.

Root may read and write anything, so it gives up its capabilities here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
# Runs each command line that it is given in a fork of its own, which has no imports to do any more. Python 3.12 and
# later warn of threads then, of which these here wait.
RUN_ALL = """
import json, os, sys
from swaplab.cli import calibrate, check, doctor, main, profile, run, trace
found = []
for arguments in json.loads(sys.argv[1]):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 2)
        sys.argv = ["swaplab", *arguments]
        try:
            main()
        except SystemExit as error:
            os._exit(error.code or 0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(99)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        lines = said.read().splitlines()
    found.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines])
sys.stderr.write(json.dumps(found))
"""


class Ended(NamedTuple):
    status: int
    said: list[str]


def swaplab(commands: list[list[str]], cwd: Path, **environment: str) -> list[Ended]:
    """Run several command lines without privileges."""
    prefix = WITHOUT_CAPABILITIES if os.geteuid() == 0 else []
    done = subprocess.run(  # noqa: S603 - own code
        [*prefix, sys.executable, "-W", "ignore", "-c", RUN_ALL, json.dumps(commands)],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Ended(*each) for each in json.loads(done.stderr)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "good.toml").write_text("[[workload]]\npages = 9\n")
    (tmp_path / "good.csv").write_text("time,page\n1,7\n")
    (tmp_path / "good.py").write_text("")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed/there").touch()
    (tmp_path / "closed/there").chmod(0o444)
    (tmp_path / "closed").chmod(0o555)
    for name in ("secret", "secret.py", "secret.toml"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0)
    return tmp_path


def test_what_may_not_be_read_is_named(directory: Path) -> None:
    commands = [
        ["run", "secret.toml"],
        ["run", "good.toml", "--cost", "secret"],
        ["run", "good.toml", "--on", "kernel", "--kernel", "secret"],
        ["trace", "info", "secret"],
        ["trace", "convert", "secret", "out"],
        ["trace", "convert", "good.csv", "secret"],
        ["check", "secret.py"],
        ["check", "good.py", "--replay", "secret"],
        ["doctor", "secret"],
        ["fidelity", "secret.toml", "--recorded"],
    ]
    for command, ended in zip(commands, swaplab(commands, directory), strict=True):
        assert ended.status == 2, (command, ended)
        assert len(ended.said) == 1, (command, ended)
        assert "secret" in ended.said[0]
        assert "ermission denied" in ended.said[0], (command, ended)


@pytest.mark.parametrize("name", ["closed/new", "closed/there", "closed"])
def test_what_may_not_be_written_is_named_before_any_work(name: str, directory: Path) -> None:
    commands = [
        ["run", "good.toml", "-o", name],
        ["check", "--all", "-o", name],
        ["trace", "convert", "good.csv", name],
        ["calibrate", "-o", name],
        ["profile", "--pid", "1", "-o", name],
        ["doctor", "--scenario", name],
    ]
    for command, ended in zip(commands, swaplab(commands, directory), strict=True):
        assert ended.status == 2, (command, ended)
        assert len(ended.said) == 1, (command, ended)
        assert name in ended.said[0], (command, ended)
    assert (directory / "closed/there").read_bytes() == b""


def test_without_a_place_to_keep_anything_all_is_as_before(directory: Path) -> None:
    (directory / "home").mkdir(0o555)
    (directory / "race.py").write_text(
        "from swaplab import Program\nfrom swaplab.kernel.sync import Shared, WRITE_ONCE\n"
        "class Counter(Shared):\n    n: int = 0\n"
        "def add(counter): WRITE_ONCE(counter).n = 1\n"
        "one = Program('one', Counter, {'a': add, 'b': add})\n"
    )
    commands = [["trace", "convert", "good.csv", "t.parquet"], ["trace", "info", "t.parquet"], ["check", "race.py"]]
    for home in (str(directory / "home"), str(directory / "closed/none")):
        for command, ended in zip(commands, swaplab(commands, directory, HOME=home, XDG_CACHE_HOME=""), strict=True):
            assert ended.status == 0, (command, ended)
        assert list((directory / "home").iterdir()) == []


def test_a_process_of_somebody_else_is_named(directory: Path) -> None:
    (ended,) = swaplab([["profile", "--pid", "1"]], directory)
    assert ended.status == 2
    assert "(1) among them, which this user may not read" in ended.said[0]
