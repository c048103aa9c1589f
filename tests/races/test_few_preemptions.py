"""Programs on the objects of kernel/ break with few preemptions as the search says that they do."""

from __future__ import annotations

from typing import Any

import pytest
from tests.explore.few import PROGRAMS, disagreements

from swaplab.explore import Bounded, Program, explore

EXECUTIONS_MAX = 50
LARGE = ("parent and child", "7.2")
"""What names of programs have that take seconds each."""
CHOSEN = {name: each for name, each in PROGRAMS.items() if not all(part in name for part in LARGE)}


@pytest.mark.parametrize("program", CHOSEN.values(), ids=CHOSEN)
def test_they_agree(program: Program[Any]) -> None:
    """Of large programs, `make quality` tells more."""
    verdict = explore(program, executions_max=EXECUTIONS_MAX)
    if not isinstance(verdict, Bounded) and not getattr(verdict, "limit", ""):
        assert not disagreements(program, verdict, EXECUTIONS_MAX)
