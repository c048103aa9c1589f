"""What keeps a process that explores the program that it is."""

from __future__ import annotations

import sys
from functools import cache

from swaplab.kernel.sync.bugs import Refused

__all__ = ["insist_to_stay"]


@cache
def insist_to_stay() -> None:
    """Refuse, from now on, to have this process run something else: there would be no verdict, and no failure.

    Nobody sees that from outside, so it is asked of Python, whichever way it is done.
    """
    sys.addaudithook(_refuse)


def _refuse(event: str, _: object) -> None:
    if event == "os.exec":
        raise Refused("the program replaces the process by os.exec, with whatever is not said yet")
