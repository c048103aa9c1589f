"""Whether an object was freed can be asked from outside, under every runtime."""

from __future__ import annotations

from swaplab.explore import Holds, Program, Violated, explore
from swaplab.kernel.sync import Shared, current, install, is_freed, kfree
from swaplab.kernel.sync.direct import Direct
from swaplab.kernel.sync.threads import Threads


class Thing(Shared):
    value: int

    def __init__(self) -> None:
        self.value = 0


def test_direct_and_threads() -> None:
    for runtime in (Direct(), Threads()):
        with install(runtime):
            thing = Thing()
            assert not is_freed(thing)
            kfree(thing)
            assert is_freed(thing)
    assert current.runtime


def test_explorer() -> None:
    tasks = {"CPU0": kfree}
    assert isinstance(explore(Program("freed", Thing, tasks, {"it is freed": is_freed})), Holds)
    verdict = explore(Program("freed", Thing, tasks, {"it is there": lambda thing: not is_freed(thing)}))
    assert isinstance(verdict, Violated)
    assert [step.what for step in verdict.violations[0].steps if step.matters] == ["kfree"]


def test_a_task_that_asks_uses_the_object() -> None:
    verdict = explore(Program("asks", Thing, {"CPU0": kfree, "CPU1": is_freed}))
    assert isinstance(verdict, Violated)
    assert verdict.violations[0].sentence == "Thing is used after it was freed"
