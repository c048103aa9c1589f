"""Slots of a rotational device in 7.2, against lists of clusters as mm/swapfile.c keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.replay.lab import A, Lab, alloc_slot_of, free_slot_of
from tests.replay.validate import validate_clusters

from swaplab.linux.release import Modelled
from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.replay.state import COMPRESSED, ON_DISK, RESIDENT, UNMAPPED
from swaplab.scenario.device import DEVICES
from swaplab.scenario.model import Zswap
from swaplab.scenario.trace import EventKind

HDD = DEVICES["hdd"]
SLOTS = 5 * SWAPFILE_CLUSTER - 100


class Clusters:
    """Which slot comes next: sets of used slots, and lists of clusters by name. No folio in memory has a slot here."""

    def __init__(self) -> None:
        self.used = {0, *range(SLOTS + 1, 5 * SWAPFILE_CLUSTER)}
        self.lists = {"free": [1, 2, 3], "nonfull": [0, 4], "frag": [], "full": []}
        self.following = 0

    def slots(self, cluster: int) -> range:
        return range(cluster * SWAPFILE_CLUSTER, (cluster + 1) * SWAPFILE_CLUSTER)

    def move(self, cluster: int, name: str) -> None:
        if cluster not in self.lists[name]:
            for each in self.lists.values():
                if cluster in each:
                    each.remove(cluster)
            self.lists[name].append(cluster)

    def take(self, cluster: int, first: int) -> int:
        """The first free slot of a cluster from `first` on; 0 if there is none."""
        found = next((slot for slot in self.slots(cluster) if slot >= first and slot not in self.used), 0)
        if found:
            self.used.add(found)
        is_full = self.used.issuperset(self.slots(cluster))
        self.following = found + 1 if found and not is_full and found + 1 in self.slots(cluster) else 0
        self.move(cluster, "full" if is_full else "frag")
        return found

    def alloc(self) -> int:
        cluster = self.following // SWAPFILE_CLUSTER
        if self.following and cluster not in self.lists["free"] + self.lists["full"]:
            found = self.take(cluster, self.following)
            if found:
                return found
        for name in ("nonfull", "free", "frag"):
            if self.lists[name]:
                return self.take(self.lists[name].pop(0), 0)
        raise AssertionError("no slot is left")

    def free(self, slot: int) -> None:
        self.used.remove(slot)
        cluster = slot // SWAPFILE_CLUSTER
        self.move(cluster, "free" if self.used.isdisjoint(self.slots(cluster)) else "nonfull")


def test_holes_come_before_new_clusters_and_the_cluster_at_hand_before_both() -> None:
    lab = Lab(SLOTS, swap_pages=SLOTS, device=HDD, kernel="7.2")
    m, model, random = lab.machine, Clusters(), np.random.default_rng(1)
    held: dict[int, int] = {}
    for round_ in range(60):
        alloc = random.random() < (0.8 if round_ < 30 else 0.4)
        for _ in range(int(random.integers(1, 250))):
            if alloc and len(held) < SLOTS:
                page = next(page for page in range(SLOTS) if page not in held)
                alloc_slot_of(m, page)
                held[page] = model.alloc()
                assert m.page_slot[page] == held[page]
            elif not alloc and held:
                page = list(held)[int(random.integers(len(held)))]
                free_slot_of(m, page, A)
                model.free(held.pop(page))
        validate_clusters(m)
    assert m.swap.slots_used == len(held)


def test_what_was_unmapped_leaves_holes_that_are_filled_once_the_cluster_at_hand_is_full() -> None:
    lab = Lab(1500, swap_pages=10 * SWAPFILE_CLUSTER - 1, device=HDD, kernel="7.2", zswap=Zswap())
    lab.touch(range(1400))
    lab.reclaim(600)
    first = lab.where(ON_DISK)
    lab.apply(EventKind.UNMAP, 100, 50)
    freed = {page for page in range(100, 150) if page in first}
    assert len(freed) == 50
    assert {int(lab.machine.folios["bits"][page]) & UNMAPPED for page in freed} == {UNMAPPED}
    lab.reclaim(700)
    slots = {int(lab.machine.page_slot[page]) for page in lab.where(ON_DISK)}
    assert slots == set(range(1, len(slots) + 1)), "no hole is left"


@pytest.mark.parametrize(("kernel", "slots", "kept"), [("6.12", 1000, False), ("7.2", 1000, True), ("7.2", 150, False)])
def test_a_write_leaves_the_slot_of_a_page_unless_half_of_all_are_used(
    kernel: Modelled, slots: int, kept: bool
) -> None:
    """do_swap_page of 7.2: the flag that it was a write is gone by the time somebody looks. 6.12 frees the slot."""
    lab = Lab(100, swap_pages=slots, kernel=kernel)
    lab.touch(range(100))
    lab.reclaim(100)
    gone = lab.where(COMPRESSED)
    lab.touch(gone[:10], write=True)
    assert {lab.state(page) for page in gone[:10]} == {RESIDENT}
    assert [lab.has_slot(page) for page in gone[:10]] == [kept] * 10
    assert lab.count("swap") == len(gone) - 10 * (not kept)
