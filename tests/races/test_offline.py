"""The matrix of `swaplab check offline`; the large fields are left to the command."""

from __future__ import annotations

import pytest

from swaplab.explore import Holds, Violated, explore
from swaplab.races.offline import Cell, matrix

CELLS = {cell.label: cell for cell in matrix()}
LARGE = ("walk and writeback", "no slot holds", "tryget")


def test_labels_are_unique() -> None:
    assert len(CELLS) == len(matrix())


@pytest.mark.parametrize("label", [label for label in CELLS if not any(part in label for part in LARGE)])
def test_verdicts(label: str) -> None:
    cell: Cell = CELLS[label]
    verdict = explore(cell.program)
    assert isinstance(verdict, Holds if cell.holds else Violated), verdict


def test_the_fear_and_the_answer() -> None:
    """What was feared loses the entry; RCU alone is enough where kmemcg_id is switched."""
    feared = explore(CELLS["add, list_lru feared, lookup rcu, lists at offline"].program)
    assert isinstance(feared, Violated)
    (found,) = feared.violations
    assert found.sentence.endswith("Entry E is on no list that reclaim can reach: nobody will ever write it back")
    shown = [f"{step.what} {step.subject}" for step in found.steps if step.matters]
    history = [shown.index(each) for each in ("list_splice parent.lru.list", "list_add_tail child.lru.list")]
    assert history == sorted(history), "it is added after the splice"
    assert shown.index("kfree child.lru") > history[1], "and before the list is freed"
    assert isinstance(explore(CELLS["add, list_lru 6.12, lookup rcu, lists at offline"].program), Holds)
