"""Programs on the objects of kernel/ break with few preemptions as the search says that they do."""

from __future__ import annotations

from typing import Any

import pytest
from tests.explore.few import PROGRAMS, disagreements

from swaplab.explore import Bounded, Program, explore

EXECUTIONS_MAX = 50


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_they_agree(program: Program[Any]) -> None:
    """Of large programs, `make quality` tells more."""
    verdict = explore(program, executions_max=EXECUTIONS_MAX)
    if not isinstance(verdict, Bounded) and not getattr(verdict, "limit", ""):
        assert not disagreements(program, verdict, EXECUTIONS_MAX)
