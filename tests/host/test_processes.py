from __future__ import annotations

import os
from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.host.processes import Process, in_cgroup, list_processes, with_pids


def add(proc: Path, pid: int, *, parent: int = 1, cgroup: str = "0::/", memory: bool = True) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "status").write_text(f"Name:\tp{pid}\nPPid:\t{parent}\n" + "VmSize:\t 1 kB\n" * memory)
    (proc / str(pid) / "cgroup").write_text(cgroup + "\n")


@pytest.fixture
def processes(tmp_path: Path) -> list[Process]:
    add(tmp_path, 2, parent=0, memory=False)
    add(tmp_path, 10, cgroup="0::/app.slice/web")
    add(tmp_path, 11, parent=12, cgroup="0::/app.slice/web/worker")  # ids wrap: a child may come first
    add(tmp_path, 12, parent=10, cgroup="0::/app.slice")
    add(tmp_path, 9, cgroup="0::/application")
    add(tmp_path, os.getpid())
    (tmp_path / "version").write_text("Linux")
    (tmp_path / "77").mkdir()  # gone before its files could be read
    return list_processes(tmp_path)


def ids(processes: list[Process]) -> list[int]:
    return [process.pid for process in processes]


def test_all_but_this_one_and_those_gone(processes: list[Process]) -> None:
    assert ids(processes) == [2, 9, 10, 11, 12]
    assert processes[0] == Process(2, 0, "p2", "/", False)


def test_by_id(processes: list[Process]) -> None:
    assert ids(with_pids(processes, [10, 9], children=False)) == [9, 10]
    assert ids(with_pids(processes, [10], children=True)) == [10, 11, 12]
    with pytest.raises(InputError, match=r"--pid 5: expected the id of another running process"):
        with_pids(processes, [10, 5], children=True)


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("/app.slice", [10, 11, 12]),
        ("app.slice/web/", [10, 11]),
        ("/sys/fs/cgroup/app.slice/web", [10, 11]),
        ("/", [2, 9, 10, 11, 12]),
        ("/sys/fs/cgroup", [2, 9, 10, 11, 12]),
    ],
)
def test_by_cgroup(processes: list[Process], cgroup: str, expected: list[int]) -> None:
    assert ids(in_cgroup(processes, cgroup)) == expected


def test_an_empty_cgroup(processes: list[Process]) -> None:
    with pytest.raises(InputError, match="--cgroup /app: expected a cgroup with processes"):
        in_cgroup(processes, "/app")


@pytest.mark.parametrize(
    ("lines", "cgroup"),
    [
        ("0::/a b:c", "/a b:c"),
        ("5:cpu,memory:/v1\n0::/v2", "/v1"),
        ("0::/v2\n5:memory:/v1", "/v1"),
        ("5:cpu:/v1", "/"),
    ],
)
def test_the_hierarchy_that_accounts_memory(tmp_path: Path, lines: str, cgroup: str) -> None:
    add(tmp_path, 3, cgroup=lines)
    assert list_processes(tmp_path)[0].cgroup == cgroup
