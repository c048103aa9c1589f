"""What an exhibit of the museum is: a published race, as it was and as it was mended. A suspicion looks the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swaplab.explore import Program

__all__ = ["Exhibit"]


@dataclass(frozen=True)
class Exhibit:
    """A published race; or what one may suspect who reads the source, which nobody has published.

    Attributes:
        name: short, in lower case with dashes; what `swaplab check` calls it.
        title: as it was published; of a suspicion, what would happen.
        references: commits, message ids, CVE numbers; of a suspicion, the functions that were read.
        story: what was claimed or found, in a sentence or two.
        broken: programs in which the explorer has to find something, by what is wrong in them.
        fixed: programs that have to hold, by what mends them. Of a claim that was refuted there are these and,
            as broken ones, what is left when a safeguard is taken away.
        finds: titles of the bugs that may be found in the broken programs.
    """

    name: str
    title: str
    references: tuple[str, ...]
    story: str
    broken: Mapping[str, Program[Any]]
    fixed: Mapping[str, Program[Any]]
    finds: frozenset[str]
