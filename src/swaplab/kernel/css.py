"""Lives of cgroups: struct cgroup_subsys_state, from mkdir over rmdir to the last reference and beyond.

kernel/cgroup/cgroup.c, 6.12 and 7.2. A css is online until rmdir kills it. A grace period later css_tryget_online() has
stopped giving references to anybody, and the css goes offline, in 7.2 after another one, children before parents. When
the last reference is dropped it is released, a grace period after that it is freed, and only then does it let go of its
parent.

Differs: there is one controller, memory, and a cgroup is its css. There are no tasks in cgroups: those that exit, and
for which 7.2 waits before it kills the css, neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from errno import EBUSY
from typing import Final, TypeVar, cast

from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    Mutex,
    PercpuRef,
    Shared,
    Work,
    WorkQueue,
    call_rcu,
    queue_work,
    rcu_assign_pointer,
    rcu_dereference,
)

__all__ = [
    "CSS_DYING",
    "CSS_ONLINE",
    "CSS_RELEASED",
    "CgroupRoot",
    "Css",
    "cgroup_rmdir",
    "css_descendants",
    "css_has_online_children",
    "css_is_dying",
    "online_css",
]

C = TypeVar("C", bound="Css")

CSS_ONLINE: Final = 1 << 1
CSS_RELEASED: Final = 1 << 2
CSS_DYING: Final = 1 << 4


class CgroupRoot(Shared):
    """What all csses share: the static variables of kernel/cgroup/cgroup.c.

    Args:
        late_offline: a css that was killed goes offline another grace period later, as in 7.2.

    Attributes:
        queue_offline: queue_work, or queue_rcu_work where that is so.
        css_serial_nr_next: guarded by cgroup_mutex.
    """

    cgroup_mutex: Final[Mutex]
    cgroup_offline_wq: Final[WorkQueue]
    cgroup_release_wq: Final[WorkQueue]
    cgroup_free_wq: Final[WorkQueue]
    queue_offline: Final[Callable[[WorkQueue, Work], object]]
    css_serial_nr_next: int

    def __init__(self, late_offline: bool = False) -> None:
        self.css_serial_nr_next = 1
        self.queue_offline = queue_rcu_work if late_offline else queue_work
        self.cgroup_mutex = Mutex(None, "cgroup_mutex")
        self.cgroup_offline_wq = WorkQueue("cgroup_offline_wq")
        self.cgroup_release_wq = WorkQueue("cgroup_release_wq")
        self.cgroup_free_wq = WorkQueue("cgroup_free_wq")


class Css(Shared):
    """struct cgroup_subsys_state; its maker holds cgroup_mutex, and calls `online_css` next.

    Args:
        cgroups: what it shares with the others.
        name: of the cgroup, for texts.
        parent: none for the root, which is never destroyed, and whose references are not counted.

    Attributes:
        level: how many ancestors it has.
        flags: CSS_*; they change under cgroup_mutex.
        serial_nr: ascending in the order of creation.
        first_child: children are an RCU list in that order, which changes under cgroup_mutex.
        next_sibling: stays when the css is taken off the list.
        refcnt: `css_release` follows the last reference.
        killed_work, release_work, free_work: what is left to queues: destroy_work, again, and destroy_rwork.
        online_cnt: 1 for itself, and 1 for every child that has not gone offline.
    """

    name: Final[str]
    cgroups: Final[CgroupRoot]
    parent: Final[Css | None]
    level: Final[int]
    serial_nr: Final[int]
    refcnt: Final[PercpuRef]
    online_cnt: Final[Atomic]
    killed_work: Final[Work]
    release_work: Final[Work]
    free_work: Final[Work]
    flags: int
    first_child: Css | None
    next_sibling: Css | None

    def __init__(self, cgroups: CgroupRoot, name: str, parent: Css | None) -> None:
        self.name = name
        self.cgroups = cgroups
        self.parent = parent
        self.level = parent.level + 1 if parent else 0
        self.serial_nr = cgroups.css_serial_nr_next
        cgroups.css_serial_nr_next += 1
        self.flags = 0
        self.first_child = self.next_sibling = None
        self.refcnt = PercpuRef(self, "refcnt", lambda: css_release(self))
        self.killed_work = Work(self, "killed_work", css_killed_work_fn, self)
        self.release_work = Work(self, "release_work", css_release_work_fn, self)
        self.free_work = Work(self, "free_work", css_free_rwork_fn, self)
        self.online_cnt = Atomic(self, "online_cnt")

    def get(self) -> None:
        """css_get, include/linux/cgroup_refcnt.h: the caller has a reference already."""
        if self.parent:
            self.refcnt.get()

    def tryget(self) -> bool:
        """css_tryget: until the last reference is gone, online or not. Under RCU."""
        return not self.parent or self.refcnt.tryget()

    def tryget_online(self) -> bool:
        """css_tryget_online: until it is killed. Under RCU."""
        return not self.parent or self.refcnt.tryget_live()

    def put(self) -> None:
        """css_put."""
        if self.parent:
            self.refcnt.put()

    def css_offline(self) -> None:
        """What the controller does once css_tryget_online() fails for everybody. The caller holds cgroup_mutex."""
        raise NotImplementedError

    def css_released(self) -> None:
        """Called once there are no references. The caller holds cgroup_mutex."""
        raise NotImplementedError

    def css_free(self) -> None:
        """Called once no task looks at it any more."""
        raise NotImplementedError


def css_is_dying(css: Css) -> bool:
    """css_is_dying, include/linux/cgroup.h. Differs: a marked load."""
    return bool(READ_ONCE(css).flags & CSS_DYING)


# Walks


def css_next_child(pos: Css | None, parent: Css) -> Css | None:
    """css_next_child. Under RCU or cgroup_mutex."""
    if pos is None:
        return rcu_dereference(parent).first_child
    if not READ_ONCE(pos).flags & CSS_RELEASED:
        return rcu_dereference(pos).next_sibling
    # What comes after it may be gone as well by now, so look for it from the front.
    following = rcu_dereference(parent).first_child
    while following and following.serial_nr <= pos.serial_nr:
        following = rcu_dereference(following).next_sibling
    return following


def css_next_descendant_pre(pos: Css, root: Css) -> Css | None:
    """css_next_descendant_pre. Under RCU or cgroup_mutex."""
    following = css_next_child(None, pos)
    while following is None and pos is not root and pos.parent:
        following = css_next_child(pos, pos.parent)
        pos = pos.parent
    return following


def css_descendants(root: C) -> Iterator[C]:
    """css_for_each_descendant_pre: `root` and all below it, parents first; all are of one controller."""
    pos: Css | None = root
    while pos:
        yield cast(C, pos)
        pos = css_next_descendant_pre(pos, root)


def _list_add_tail_rcu(css: Css, parent: Css) -> None:
    last = parent.first_child
    if last is None:
        rcu_assign_pointer(parent).first_child = css
        return
    while last.next_sibling:
        last = last.next_sibling
    rcu_assign_pointer(last).next_sibling = css


def _list_del_rcu(css: Css, parent: Css) -> None:
    before = parent.first_child
    if before is css:
        rcu_assign_pointer(parent).first_child = css.next_sibling
        return
    while before and before.next_sibling is not css:
        before = before.next_sibling
    if before:
        rcu_assign_pointer(before).next_sibling = css.next_sibling


# Creation and destruction


def online_css(css: Css) -> None:
    """css_create and online_css: make it visible. The caller holds cgroup_mutex, unless it is the root.

    Differs: the controller has done its part when it made the css; the css pins its parent from here on.
    """
    parent = css.parent
    if parent:
        parent.get()
        _list_add_tail_rcu(css, parent)
        parent.online_cnt.add(1)
    WRITE_ONCE(css).flags = css.flags | CSS_ONLINE
    css.online_cnt.add(1)


def cgroup_rmdir(css: Css) -> int:
    """cgroup_rmdir and cgroup_destroy_locked.

    Returns:
        0, also if it was removed before; -EBUSY if it has children that were not.
    """
    with css.cgroups.cgroup_mutex:
        if css_has_online_children(css):
            return -EBUSY
        kill_css(css)
        return 0


def css_has_online_children(css: Css) -> bool:
    """css_has_online_children, of the cgroup's own css, which rmdir takes offline at once."""
    child = css_next_child(None, css)
    while child:
        if not css_is_dying(child):
            return True
        child = css_next_child(child, css)
    return False


def kill_css(css: Css) -> None:
    """kill_css; kill_css_sync and kill_css_finish in 7.2. The caller holds cgroup_mutex."""
    if css.flags & CSS_DYING:
        return
    WRITE_ONCE(css).flags = css.flags | CSS_DYING
    css.get()
    css.refcnt.kill(lambda: css_killed_ref_fn(css))


def css_killed_ref_fn(css: Css) -> None:
    """css_killed_ref_fn: everybody has seen that it was killed."""
    if css.online_cnt.dec_and_test():
        css.cgroups.queue_offline(css.cgroups.cgroup_offline_wq, css.killed_work)


def css_killed_work_fn(css: Css) -> None:
    """css_killed_work_fn."""
    with css.cgroups.cgroup_mutex:
        pos: Css | None = css
        while pos:
            offline_css(pos)
            # It stays until the mutex is given back, since its release takes that too.
            pos.put()
            pos = pos.parent
            if pos and not pos.online_cnt.dec_and_test():
                break


def offline_css(css: Css) -> None:
    """offline_css. The caller holds cgroup_mutex."""
    if css.flags & CSS_ONLINE:
        css.css_offline()
        WRITE_ONCE(css).flags = css.flags & ~CSS_ONLINE


def css_release(css: Css) -> None:
    """css_release: the last reference is gone."""
    queue_work(css.cgroups.cgroup_release_wq, css.release_work)


def css_release_work_fn(css: Css) -> None:
    """css_release_work_fn."""
    with css.cgroups.cgroup_mutex:
        WRITE_ONCE(css).flags = css.flags | CSS_RELEASED
        if css.parent:
            _list_del_rcu(css, css.parent)
        css.css_released()
    queue_rcu_work(css.cgroups.cgroup_free_wq, css.free_work)


def css_free_rwork_fn(css: Css) -> None:
    """css_free_rwork_fn."""
    parent = css.parent
    css.css_free()
    if parent:
        parent.put()


def queue_rcu_work(queue: WorkQueue, work: Work) -> None:
    """queue_rcu_work, kernel/workqueue.c."""
    call_rcu(queue_work, queue, work)
