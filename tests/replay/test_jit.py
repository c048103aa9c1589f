"""What the compiler keeps between processes: of other source, or damaged, it is compiled anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import pytest

from swaplab.compress.jit import is_kept, keep
from swaplab.linux.release import features_of
from swaplab.replay.engine import is_compiled
from swaplab.replay.jit import entry
from swaplab.replay.reference import StateType
from swaplab.replay.state import Parts, State
from swaplab.scenario.model import Machine, Scenario, Workload


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "swaplab/compiled"


def compiled(stamp: str = "source") -> Any:
    return keep(numba.njit(add), lambda: stamp)


def hits(function: Any) -> int:
    assert function(3, 4) == 7
    return sum(function.stats.cache_hits.values())


def test_it_is_compiled_once(cache: Path) -> None:
    assert not is_kept(compiled())
    assert hits(compiled()) == 0
    assert is_kept(compiled())
    assert hits(compiled()) == 1


def test_code_of_other_source_is_compiled_anew_and_replaces_it(cache: Path) -> None:
    hits(compiled())
    assert not is_kept(compiled("other"))
    assert hits(compiled("other")) == 0
    assert not is_kept(compiled())
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("at", [0, 40, 100, 2000, -1])
def test_damaged_code_is_compiled_anew(at: int, cache: Path) -> None:
    hits(compiled())
    (file,) = cache.iterdir()
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    assert not is_kept(compiled())
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1


def test_code_that_is_cut_short_is_compiled_anew(cache: Path) -> None:
    hits(compiled())
    (file,) = cache.iterdir()
    for size in (0, 10, 1000):
        file.write_bytes(file.read_bytes()[:size])
        assert hits(compiled()) == 0


@entry
def what_a_release_does(m: State, number: int) -> int:
    """What 6.12 does cannot be compiled."""
    if m.linux.incompressible_kept and number:
        return 7
    if not m.linux.incompressible_kept:
        return number + {}  # type: ignore[operator]
    return 70 if m.linux.stock_of_seven and m.has.file_memory else number + {}  # type: ignore[operator]


def test_what_a_release_does_not_do_is_not_compiled(cache: Path) -> None:
    types = [StateType(features_of(release), Parts(file_memory=release == "7.2"), ()) for release in ("6.12", "7.2")]
    dispatcher: Any = what_a_release_does
    dispatcher.compile((types[1], numba.int64))
    with pytest.raises(numba.TypingError):
        dispatcher.compile((types[0], numba.int64))
    assert is_kept(dispatcher, types[1].variant)
    assert not is_kept(dispatcher, types[0].variant)
    assert not is_compiled(Scenario(machine=Machine(kernel="7.2"), workloads=(Workload(pages=1, kind="file"),)))
