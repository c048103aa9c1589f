"""Every allocation, compression and device access in turn fails: nothing is lost, and nothing disagrees."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.model import Action, Model, actions

from swaplab.kernel.machine import Machine
from swaplab.kernel.sync import Direct, install
from swaplab.linux.release import MODELLED, Modelled

SHORT: dict[str, list[Action]] = {
    "stored, loaded and discarded": [
        ("fill", "a", 7), ("swap_out_all", "a"), ("read", "a", 3), ("write", "a", 4, 9), ("discard", "a", 5),
    ],
    "written to the device and read back": [
        ("zswap", 0), ("fill", "a", 14), ("swap_out_all", "a"), ("read", "a", 3), ("write", "a", 4, 9), ("swapoff",),
    ],
    "written back": [
        ("shrinker", True), ("fill", "a/c", 14), ("limit", "a/c", 8), ("limit", "a/c", 2), ("read", "a/c", 1),
    ],
    "removed while swapped out": [
        ("fill", "a/c", 14), ("swap_out_all", "a/c"), ("remove", "a/c"), ("reclaim", "a", 9), ("swapoff",),
    ],
    "stored by one compressor and loaded after another was chosen": [
        ("fill", "a", 14), ("swap_out_all", "a"), ("compressor", "deflate"), ("fill", "b", 14), ("swap_out_all", "b"),
        ("zswap_max", "b", 1), ("reclaim", "b", 20),
    ],
}  # fmt: skip


class Failure:
    """Lets the calls fail whose turn it is.

    Args:
        turns: which, counted from 0.

    Attributes:
        kinds: of all calls so far.
        is_on: whether any may fail.
        happened: whether one has failed since this was last cleared.
        read_failed: whether a read of the device ever has. What it was for goes on to fail until reclaim drops that
            folio from the swap cache, as in the kernel.
    """

    def __init__(self, turns: set[int]) -> None:
        self.turns = turns
        self.kinds: list[str] = []
        self.is_on = self.happened = self.read_failed = False

    def __call__(self, kind: str) -> bool:
        if not self.is_on:
            return False
        self.kinds.append(kind)
        fails = len(self.kinds) - 1 in self.turns
        self.happened |= fails
        self.read_failed |= fails and kind == "read"
        return fails


def play(sequence: list[Action], failure: Failure, kernel: Modelled = "6.12") -> None:
    """Act, with failures, and then compare every page without them."""
    with install(Direct(failure)):
        model = Model(Machine(memory=512 << 12, swap_pages=512, kernel=kernel))
        for action in sequence:
            failure.is_on, failure.happened = True, False
            try:
                model.act(action)
            except MemoryError:
                assert failure.happened or model.is_full()
            except OSError:
                assert failure.read_failed
            failure.is_on = False
            model.machine.validate()
        model.machine.root.reclaim(512 << 12)
        model.check_all()
        model.machine.validate()


def fail_in_turn(name: str, first: int, step: int) -> int:
    """Play a sequence again and again, each time with one call that fails, from the `first` on; return how many do."""
    dry = Failure(set())
    play(SHORT[name], dry)
    assert {"kmalloc", "alloc_page"} <= set(dry.kinds)
    turns = range(first, len(dry.kinds), step)
    for turn in turns:
        failure = Failure({turn})
        play(SHORT[name], failure)
        assert len(failure.kinds) > turn
    return len(turns)


@pytest.mark.parametrize(("first", "name"), [*enumerate(SHORT)])
def test_whichever_call_fails_no_page_is_lost(first: int, name: str) -> None:
    """Every third, as most do for one page what others do for the next; make quality lets each fail."""
    assert fail_in_turn(name, first % 3, 3)


def test_these_let_every_kind_of_call_fail() -> None:
    kinds: set[str] = set()
    for sequence in SHORT.values():
        dry = Failure(set())
        play(sequence, dry)
        kinds |= set(dry.kinds)
    assert kinds == {"kmalloc", "alloc_page", "compress", "read", "write"}


@pytest.mark.parametrize("kernel", MODELLED)
@given(st.lists(actions, max_size=25), st.integers(0, 1 << 30), st.sampled_from((0.02, 0.2, 1)))
@settings(max_examples=50)
def test_however_many_calls_fail_no_page_is_lost(
    kernel: Modelled, sequence: list[Action], seed: int, share: float
) -> None:
    random = Random(seed)  # noqa: S311
    play(sequence, Failure({turn for turn in range(20_000) if random.random() < share}), kernel)
