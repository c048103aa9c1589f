"""Doubly linked lists whose entries are parts of objects, as struct list_head.

What an operation touches: to those who explore what depends on what, all links of a list are one variable, the head's,
and whether an entry is on a list, and on which, is another, the entry's. That is enough, since whoever changes a link
of an entry changes the list that it is on. In Linux a neighbour's links are in the neighbour: so it has to be alive.

What a pending operation will touch depends on where entries are by then. Whatever changes that conflicts with it: an
entry comes on a list and leaves it by operations on the entry; neighbours change by operations on the list, which is
touched; and a splice, which puts all entries on another list, touches the list that they were on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from swaplab.kernel.sync.bugs import ListCorruption
from swaplab.kernel.sync.runtime import PLAIN, READ, WRITE, Several, current, operation, outside
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["ListHead", "ListNode", "validate_list"]

T = TypeVar("T", bound=Shared)
Touched = tuple[tuple[Part, int], ...]
READS, WRITES, LIVES = READ | PLAIN, WRITE | PLAIN, 0


def _by_empty(node: ListNode[Any]) -> Touched:
    return ((node, READS), (node._head, READS)) if node._head else ((node, READS),)


def _by_delete(node: ListNode[Any]) -> Touched:
    if not node._head:
        return ((node, WRITES),)
    return ((node, WRITES), (node._head, WRITES), (node._prev, LIVES), (node._next, LIVES))


def _by_adding(head: ListHead[Any], node: ListNode[Any], beside: Part) -> Touched:
    other = ((node._head, READS),) if node._head and node._head is not head else ()
    return ((head, WRITES), (node, WRITES), *other, (beside, LIVES))


def _by_add(head: ListHead[Any], node: ListNode[Any]) -> Touched:
    return _by_adding(head, node, head._next)


def _by_add_tail(head: ListHead[Any], node: ListNode[Any]) -> Touched:
    return _by_adding(head, node, head._prev)


def _by_move_tail(head: ListHead[Any], node: ListNode[Any]) -> Touched:
    return (*_by_delete(node), (head, WRITES), (head._prev, LIVES)) if node._head else _by_delete(node)


def _by_splice(head: ListHead[Any], source: ListHead[Any]) -> Touched:
    if source._next is source:
        return ((source, READS),)
    return ((head, WRITES), (source, WRITES), *((each, LIVES) for each in (source._next, source._prev, head._next)))


def _by_after(head: ListHead[Any], node: ListNode[Any]) -> Touched:
    return ((node, READS), (node._head or head, READS))


class ListNode(Part, Generic[T]):
    """An object's place on a list; on none at first.

    Args:
        owner: the object.
        name: of the member.

    Attributes:
        entry: the object.
        head: the list it is on.
    """

    __slots__ = ("_head", "_next", "_prev", "entry")
    head, next, prev = outside("_head"), outside("_next"), outside("_prev")

    def __init__(self, owner: T, name: str) -> None:
        Part.__init__(self, owner, name)
        self.entry = owner
        self._head: ListHead[T] | None = None
        self._next: ListNode[T] | ListHead[T] = self
        self._prev: ListNode[T] | ListHead[T] = self

    def _unlink(self) -> None:
        if self._head is None:
            raise ListCorruption(f"{self.label} is removed, but is on no list")
        self._prev._next, self._next._prev = self._next, self._prev
        self._next = self._prev = self
        self._head = None

    def _link(self, head: ListHead[T], prev: ListNode[T] | ListHead[T]) -> None:
        if self._head is not None:
            raise ListCorruption(f"{self.label} is added to {head.label}, but is on {self._head.label}")
        self._head, self._prev, self._next = head, prev, prev._next
        prev._next._prev = self
        prev._next = self

    @operation(Several(_by_empty), "list_empty")
    def empty(self) -> bool:
        """list_empty of an entry: whether it is on no list."""
        return self._head is None

    @operation(Several(_by_delete), "list_del")
    def delete(self) -> None:
        """list_del_init."""
        self._unlink()


class ListHead(Part, Generic[T]):
    """A list.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.
    """

    __slots__ = ("_next", "_prev")
    next, prev = outside("_next"), outside("_prev")

    def __init__(self, owner: Shared | None, name: str) -> None:
        Part.__init__(self, owner, name)
        self._next: ListNode[T] | ListHead[T] = self
        self._prev: ListNode[T] | ListHead[T] = self

    def nodes(self) -> list[ListNode[T]]:
        """Return all nodes in order, as a look from outside that is no operation of a task."""
        current.runtime.peek(self)
        return self._nodes()

    def _nodes(self) -> list[ListNode[T]]:
        found = []
        node = self._next
        while isinstance(node, ListNode):
            found.append(node)
            node = node._next
        return found

    def entries(self) -> list[T]:
        """Return all entries in order, as a look from outside that is no operation of a task."""
        return [node.entry for node in self.nodes()]

    def __iter__(self) -> Iterator[T]:
        """list_for_each_entry: read one link after the other.

        Raises:
            ListCorruption: the entry that the walk has come to is on no list any more, so that it would never end, or
                on another, whose head it would take for an entry.
        """
        entry, node = self.first(), self._next
        while entry is not None and isinstance(node, ListNode):
            yield entry
            entry, following = self.after(node), node._next
            if following is node:
                raise ListCorruption(f"a walk of {self.label} has come to {node.label}, which is on no list")
            if isinstance(following, ListHead) and following is not self:
                raise ListCorruption(f"a walk of {self.label} has come to {node.label}, which is on {following.label}")
            node = following

    @operation(READS, "list_empty")
    def empty(self) -> bool:
        """list_empty."""
        return self._next is self

    @operation(Several(_by_add), "list_add")
    def add(self, node: ListNode[T]) -> None:
        """list_add: at the head."""
        node._link(self, self)

    @operation(Several(_by_add_tail), "list_add_tail")
    def add_tail(self, node: ListNode[T]) -> None:
        """list_add_tail."""
        node._link(self, self._prev)

    @operation(Several(_by_move_tail), "list_move_tail")
    def move_tail(self, node: ListNode[T]) -> None:
        """list_move_tail, within this list."""
        node._unlink()
        node._link(self, self._prev)

    @operation(Several(_by_splice), "list_splice")
    def splice(self, source: ListHead[T]) -> None:
        """list_splice_init: put all entries of `source` at the head, in their order."""
        nodes = source._nodes()
        if not nodes:
            return
        if source is self:
            raise ListCorruption(f"{self.label} is spliced into itself")
        for node in nodes:
            node._head = self
        nodes[-1]._next, self._next._prev = self._next, nodes[-1]
        nodes[0]._prev, self._next = self, nodes[0]
        source._next = source._prev = source

    @operation(READS, "list_first_entry")
    def first(self) -> T | None:
        """list_first_entry_or_null."""
        return self._next.entry if isinstance(self._next, ListNode) else None

    @operation(Several(_by_after), "list_next_entry")
    def after(self, node: ListNode[T]) -> T | None:
        """list_next_entry, or none at the end."""
        return node._next.entry if isinstance(node._next, ListNode) else None


def validate_list(head: ListHead[T]) -> None:
    """Check that links and back links agree, and that the entries know the list.

    Raises:
        ListCorruption: they do not.
    """
    node: ListNode[T] | ListHead[T] = head
    while True:
        if node._next._prev is not node:
            raise ListCorruption(f"{head.label}: next and prev do not agree")
        node = node._next
        if node is head:
            return
        if not isinstance(node, ListNode) or node._head is not head:
            raise ListCorruption(f"{head.label}: an entry is on another list")
