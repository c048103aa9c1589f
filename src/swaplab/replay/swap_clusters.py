"""Clusters of a rotational device's slots, and the lists that they are on (mm/swapfile.c, 7.2).

Those on the list of free ones have no slot in use, nonfull ones have one that was freed since one was last taken,
fragmented ones none, full ones none that is free. One that is looked into is on no list.
"""

from __future__ import annotations

from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import list_add_tail, list_del
from swaplab.replay.state import (
    CLUSTER_FRAG,
    CLUSTER_FREE,
    CLUSTER_FULL,
    CLUSTER_NONE,
    CLUSTER_NONFULL,
    SLOT_CACHED,
    SLOT_FREE,
    State,
)

__all__ = ["free_clustered_slot", "is_cluster_usable", "isolate_cluster", "relocate_cluster", "take_from_cluster"]


@jit
def cluster_head(m: State, kind: int) -> int:
    """Record that heads a list of clusters."""
    return wide(m.swap.nr_clusters) + kind


@jit
def move_cluster(m: State, cluster: int, kind: int) -> None:
    """Move a cluster to the end of a list, unless it is on that (mm/swapfile.c:move_cluster)."""
    record = m.clusters[cluster]
    if record.kind == kind:
        return
    if record.kind != CLUSTER_NONE:
        list_del(m.clusters, cluster)
    record.kind = kind
    list_add_tail(m.clusters, cluster_head(m, kind), cluster)


@jit
def isolate_cluster(m: State, kind: int) -> int:
    """Take the first cluster off a list; -1 if that is empty (mm/swapfile.c:isolate_lock_cluster)."""
    head = cluster_head(m, kind)
    cluster = wide(m.clusters[head].next)
    if cluster == head:
        return -1
    list_del(m.clusters, cluster)
    m.clusters[cluster].kind = CLUSTER_NONE
    return cluster


@jit
def relocate_cluster(m: State, cluster: int) -> None:
    """Put a cluster that was looked into where it belongs (mm/swapfile.c:relocate_cluster)."""
    count = wide(m.clusters[cluster].count)
    if not count:
        move_cluster(m, cluster, CLUSTER_FREE)
    else:
        move_cluster(m, cluster, CLUSTER_FRAG if count < SWAPFILE_CLUSTER else CLUSTER_FULL)


@jit
def is_cluster_usable(m: State, cluster: int) -> bool:
    """Whether a slot may be taken from a cluster without isolating it: it has a table (cluster_is_usable)."""
    return bool(m.clusters[cluster].count > 0 and m.clusters[cluster].kind != CLUSTER_FULL)


@jit
def take_from_cluster(m: State, cluster: int, slot: int) -> None:
    """Take a free slot (mm/swapfile.c:__swap_cluster_alloc_entries)."""
    m.slot_page[slot] = SLOT_CACHED
    m.clusters[cluster].count += 1


@jit
def free_clustered_slot(m: State, slot: int) -> None:
    """Free a slot (mm/swapfile.c:__swap_cluster_free_entries, free_cluster, partial_free_cluster)."""
    cluster = slot // SWAPFILE_CLUSTER
    m.slot_page[slot] = SLOT_FREE
    m.clusters[cluster].count -= 1
    move_cluster(m, cluster, CLUSTER_NONFULL if m.clusters[cluster].count else CLUSTER_FREE)
