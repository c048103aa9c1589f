from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.host.fake_proc import add_process

from swaplab.errors import InputError
from swaplab.host.attach.targets import of_cgroup, of_pid, of_unit


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    add_process(tmp_path, 5, [], cgroup="0::/system.slice/redis.service/workers")
    add_process(tmp_path, 6, [], cgroup="0::/system.slice/redis.service")
    add_process(tmp_path, 7, [], cgroup="0::/user.slice/a/app.service")
    add_process(tmp_path, 8, [], cgroup="0::/user.slice/b/app.service")
    add_process(tmp_path, 9, [], cgroup="0::/")
    (tmp_path / "9/status").write_text("Name:\tkthreadd\nPPid:\t0\n")
    return tmp_path


def test_a_unit_is_the_cgroup_of_its_name(proc: Path) -> None:
    target = of_unit("redis", proc)
    assert (target.name, [each.pid for each in target.choose()]) == ("redis.service", [5, 6])
    assert [each.pid for each in of_unit("redis.service", proc).choose()] == [5, 6]
    with pytest.raises(InputError, match=r"--unit app: expected one cgroup app.service .*found 2: .*/a/app.service"):
        of_unit("app", proc)
    with pytest.raises(InputError, match="found none"):
        of_unit("edis", proc)


def test_who_ends_is_not_chosen_any_more_and_who_comes_is(proc: Path) -> None:
    process, cgroup = of_pid(5, proc), of_cgroup("/system.slice", proc)
    add_process(proc, 10, [], cgroup="0::/system.slice/new")
    shutil.rmtree(proc / "5")
    assert list(process.choose()) == []
    assert [each.pid for each in cgroup.choose()] == [6, 10]
    for pid in (6, 10):
        shutil.rmtree(proc / str(pid))
    assert list(cgroup.choose()) == []


def test_a_kernel_thread_has_no_memory(proc: Path) -> None:
    with pytest.raises(InputError, match="--pid 9: expected a process with memory, found a kernel thread or a zombie"):
        of_pid(9, proc)
