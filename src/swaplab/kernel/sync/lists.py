"""Doubly linked lists whose entries are parts of objects, as struct list_head."""

from __future__ import annotations

from typing import Generic, TypeVar

from swaplab.kernel.sync.bugs import ListCorruption
from swaplab.kernel.sync.runtime import PLAIN, READ, WRITE, operation
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["ListHead", "ListNode", "validate_list"]

T = TypeVar("T", bound=Shared)


class ListNode(Part, Generic[T]):
    """An object's place on a list; on none at first. An operation on it is one on the list that it is on, too.

    Args:
        owner: the object.
        name: of the member.

    Attributes:
        entry: the object.
        head: the list it is on.
    """

    __slots__ = ("entry", "head", "next", "prev")

    def __init__(self, owner: T, name: str) -> None:
        Part.__init__(self, owner, name)
        self.entry = owner
        self.head: ListHead[T] | None = None
        self.next: ListNode[T] | ListHead[T] = self
        self.prev: ListNode[T] | ListHead[T] = self

    def _unlink(self) -> None:
        if self.head is None:
            raise ListCorruption(f"{self.label} is removed, but is on no list")
        self.prev.next, self.next.prev = self.next, self.prev
        self.next = self.prev = self
        self.head = None

    def _link(self, head: ListHead[T], prev: ListNode[T] | ListHead[T]) -> None:
        if self.head is not None:
            raise ListCorruption(f"{self.label} is added to {head.label}, but is on {self.head.label}")
        self.head, self.prev, self.next = head, prev, prev.next
        prev.next.prev = self
        prev.next = self

    @operation(READ | PLAIN, "list_empty")
    def empty(self) -> bool:
        """list_empty of an entry: whether it is on no list."""
        return self.head is None

    @operation(WRITE | PLAIN, "list_del")
    def delete(self) -> None:
        """list_del_init."""
        self._unlink()


class ListHead(Part, Generic[T]):
    """A list.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.
    """

    __slots__ = ("next", "prev")

    def __init__(self, owner: Shared | None, name: str) -> None:
        Part.__init__(self, owner, name)
        self.next: ListNode[T] | ListHead[T] = self
        self.prev: ListNode[T] | ListHead[T] = self

    def nodes(self) -> list[ListNode[T]]:
        """Return all nodes in order, as a look from outside that is no operation of a task."""
        found = []
        node = self.next
        while isinstance(node, ListNode):
            found.append(node)
            node = node.next
        return found

    def entries(self) -> list[T]:
        """Return all entries in order, as a look from outside that is no operation of a task."""
        return [node.entry for node in self.nodes()]

    @operation(READ | PLAIN, "list_empty")
    def empty(self) -> bool:
        """list_empty."""
        return self.next is self

    @operation(WRITE | PLAIN, "list_add")
    def add(self, node: ListNode[T]) -> None:
        """list_add: at the head."""
        node._link(self, self)

    @operation(WRITE | PLAIN, "list_add_tail")
    def add_tail(self, node: ListNode[T]) -> None:
        """list_add_tail."""
        node._link(self, self.prev)

    @operation(WRITE | PLAIN, "list_move_tail")
    def move_tail(self, node: ListNode[T]) -> None:
        """list_move_tail, within this list."""
        node._unlink()
        node._link(self, self.prev)

    @operation(WRITE | PLAIN, "list_splice")
    def splice(self, source: ListHead[T]) -> None:
        """list_splice_init: put all entries of `source` at the head, in their order."""
        nodes = source.nodes()
        if not nodes:
            return
        for node in nodes:
            node.head = self
        nodes[-1].next, self.next.prev = self.next, nodes[-1]
        nodes[0].prev, self.next = self, nodes[0]
        source.next = source.prev = source

    @operation(READ | PLAIN, "list_first_entry")
    def first(self) -> T | None:
        """list_first_entry_or_null."""
        return self.next.entry if isinstance(self.next, ListNode) else None

    @operation(READ | PLAIN, "list_next_entry")
    def after(self, node: ListNode[T]) -> T | None:
        """list_next_entry, or none at the end."""
        return node.next.entry if isinstance(node.next, ListNode) else None


def validate_list(head: ListHead[T]) -> None:
    """Check that links and back links agree, and that the entries know the list.

    Raises:
        ListCorruption: they do not.
    """
    node: ListNode[T] | ListHead[T] = head
    while True:
        if node.next.prev is not node:
            raise ListCorruption(f"{head.label}: next and prev do not agree")
        node = node.next
        if node is head:
            return
        if not isinstance(node, ListNode) or node.head is not head:
            raise ListCorruption(f"{head.label}: an entry is on another list")
