"""Which of the protocols that Linux has had, or was said to need, a system follows.

The differences are between small pieces of code that stand side by side, in `swaplab.kernel.list_lru_612` and
`swaplab.kernel.list_lru_613` for the most part; a protocol says which of them are put together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "LINUX_7_2",
    "SAFEGUARDS_OF_LISTS",
    "FolioOwner",
    "ListLruProtocol",
    "Lookup",
    "Protocol",
    "Reparent",
    "Safeguard",
]

ListLruProtocol = Literal["feared", "6.12", "6.13", "6.13-fixed", "7.2"]
Lookup = Literal["bare", "rcu", "tryget", "tryget_online"]
Reparent = Literal["offline", "release", "objcg-release"]
FolioOwner = Literal["memcg", "objcg"]
SafeguardOfLists = Literal["id-under-lock", "id-before-splice", "ancestors-allocated", "grace-period-before-free"]
Safeguard = SafeguardOfLists | Literal["lruvec-checked-again", "folios-with-objcgs"]
SAFEGUARDS_OF_LISTS: tuple[SafeguardOfLists, ...] = get_args(SafeguardOfLists)


@dataclass(frozen=True)
class Protocol:
    """What is done where implementations differ.

    Attributes:
        list_lru: how the list of a memcg is found, and given to its parent.

            - ``6.12``: one lock for all lists of a node. The kmemcg_id of an offline memcg is its parent's, so that
              what comes late finds the parent's list.
            - ``6.13``: a lock for each list, and a mark on dead ones; what comes late goes up. As first merged: the
              entry in the xarray goes before the list is drained.
            - ``6.13-fixed``: the same, with the list drained and marked first, as since 2026.
            - ``7.2``: besides, it is the memcg whose list was locked that shrinkers are to look at.
            - ``feared``: as the mailing list thought it was in 2023. A memcg's lists are its own until it is freed, so
              that what comes late finds the list of the dying memcg, which nobody will look at again.
        lookup: what keeps the memcg of an objcg alive while an entry is put on its list, or taken off.
        reparent: when lists go to the parent: offline; at the release of the css, as was proposed; or then, and the
            objcgs with them.
        folios: what a folio holds that is charged, and names the list that it is on.

            - ``memcg``: its memcg, as in 6.12, which lives as long as the folio does.
            - ``objcg``: an objcg of that, as in 7.2: at offline the folios go over to the parent.
        late_offline: whether a css that was killed goes offline a second grace period later, as in 7.2.
        objcg_pins: whether an objcg holds a reference to the css of its memcg, as was objected to that; 6.12 has none.
        without: safeguards of 6.12, and of 7.2, taken away, so that the search has something to find.

            - ``id-under-lock``: kmemcg_id is read under the lock of the lists.
            - ``id-before-splice``: kmemcg_id changes before lists are spliced.
            - ``ancestors-allocated``: the ancestors of a memcg with a list have one.
            - ``grace-period-before-free``: a list that was given away is freed a grace period later.
            - ``lruvec-checked-again``: a task that has locked a folio's list checks that it still is that list.
            - ``folios-with-objcgs``: folios and objcgs go to the parent under one lock.
    """

    list_lru: ListLruProtocol = "6.12"
    lookup: Lookup = "rcu"
    reparent: Reparent = "offline"
    folios: FolioOwner = "memcg"
    late_offline: bool = False
    objcg_pins: bool = False
    without: frozenset[Safeguard] = frozenset()


LINUX_7_2 = Protocol(list_lru="7.2", folios="objcg", late_offline=True)
"""As of 7.2. 6.12 is what a protocol is if nothing else is said."""
