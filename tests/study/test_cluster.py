"""A plan on Dask's workers, of which one is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest

from swaplab.cli import app
from swaplab.errors import InputError, SwaplabError
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.study import cluster as module
from swaplab.study import run
from swaplab.study.cluster import cluster
from swaplab.study.plan import Variant, of_axes
from swaplab.study.run import Summarise, processes
from swaplab.study.table import write_table
from swaplab.study.vary import parse_axis

SCENARIO = """
[zswap]
enabled = true
[cgroup."app"]
memory.max = "128K"
[[workload]]
cgroup = "app"
pages = 40
accesses = 150
content = { file = "../data" }
"""
TASK = Summarise(DEFAULT_COST)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Variant]:
    """A few seeds, whose files are in no place that a worker knows."""
    monkeypatch.setattr(run, "read_cached", lambda _name: None)
    (tmp_path / "fleet/one").mkdir(parents=True)
    (tmp_path / "fleet/data").write_bytes(bytes(range(256)) * 64)
    (tmp_path / "fleet/one/scenario.toml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path / "fleet")
    return of_axes(Path("one/scenario.toml"), ["samples=2"], [parse_axis("zswap.compressor=lz4,zstd")], seeds=4)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[object]:
    """A scheduler with two workers of one thread each, which interpret: compiled code takes long to load."""
    apart = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "1"}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, env=apart, dashboard_address=":0", silence_logs="CRITICAL"
    ) as made:
        yield made


def test_a_worker_that_is_killed_changes_nothing(scheduler: object, plan: list[Variant], tmp_path: Path) -> None:
    """Workers are elsewhere: the scenario's directory, which has a relative name, is none of theirs."""
    address = scheduler.scheduler_address  # type: ignore[attr-defined]
    with cluster(address) as there, distributed.Client(address) as client:
        results = there.mapped(TASK, plan)
        found = [next(results)]
        os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)
        found += results
    assert len(list((tmp_path / "cache").rglob("sent/*"))) == 1
    with processes(1) as here:
        expected = list(here(TASK, plan))
    for name, summaries in (("there", found), ("here", expected)):
        assert list(write_table(tmp_path / name, plan, summaries))
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_what_is_known_is_not_sent(plan: list[Variant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "fleet")
    expected = [TASK(each) for each in plan]
    assert list(module._Mapping(_Client(), is_local=True)(TASK, plan)) == expected


class _Client:
    """One that has workers, and takes no work."""

    def wait_for_workers(self, *_: object, **__: object) -> None:
        pass

    def scheduler_info(self, **_: object) -> dict[str, list[int]]:
        return {"workers": [1, 2]}


@pytest.mark.parametrize("where", ["", "local", "local:0", "local:x", "http://a:1", "tcp://a", "4"])
def test_what_is_no_cluster(where: str) -> None:
    with pytest.raises(InputError, match="expected local:WORKERS or tcp://HOST:PORT"), cluster(where):
        pass


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with (
        pytest.raises(InputError, match="a scheduler that answers"),
        cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_dask_may_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SwaplabError, match=r"pip install 'swaplab\[cluster\]'"), cluster("local:2"):
        pass


def test_another_swaplab_is_refused(plan: list[Variant]) -> None:
    with pytest.raises(SwaplabError, match="another swaplab"):
        module.run_there(TASK, plan[0], None, b"another")


def test_files_with_absolute_names_cannot_be_sent(plan: list[Variant], tmp_path: Path) -> None:
    path = tmp_path / "fleet/one/scenario.toml"
    path.write_text(SCENARIO.replace("../data", str(tmp_path / "fleet/data")))
    (variant, *_) = of_axes(path, [], [], seeds=1)
    with pytest.raises(InputError, match="relative to the scenario"):
        module._read(variant.scenario)


def test_processes_or_a_cluster(plan: list[Variant], tmp_path: Path) -> None:
    path = str(tmp_path / "fleet/one/scenario.toml")
    with pytest.raises(InputError, match="--jobs: expected none beside --cluster"):
        app(["sweep", path, "--seeds", "2", "-j", "2", "--cluster", "local:2"], exit_on_error=False)


class _Future:
    """One that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self, timeout: float) -> object:
        raise self._error


class _Deserted(_Client):
    """One whose workers have gone."""

    def scheduler_info(self, **_: object) -> dict[str, list[int]]:
        return {"workers": []}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (distributed.TimeoutError(), "no worker is left"),
        (distributed.CancelledError("x"), "the scheduler has gone"),
        (distributed.KilledWorker("x", None, 3), "again and again while they ran zswap.comp"),  # type: ignore[arg-type]
        (InputError("a", "b", "c"), "a: expected b, found c"),
    ],
)
def test_what_ends_a_study(error: Exception, said: str, plan: list[Variant]) -> None:
    with pytest.raises(SwaplabError, match=said):
        module._Sent(_Deserted(), _Future(error), TASK, plan[0]).result()
