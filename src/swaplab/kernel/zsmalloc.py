"""zsmalloc: where the bytes of compressed pages are, of size classes as `swaplab.linux.zsmalloc` has them.

A free object begins with the number of the next one, an object in use with its handle, in the bytes of the pages
themselves. Differs: nothing moves objects or pages, since only compaction would, which memcg reclaim never starts.

Cited is Linux 6.12.
"""

from __future__ import annotations

from errno import EINVAL, ENOMEM, ENOSPC
from functools import cache
from struct import Struct
from typing import Final

from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.sync import (
    Array,
    Atomic,
    KernelWarning,
    ListHead,
    ListNode,
    Part,
    Shared,
    SpinLock,
    Table,
    current,
    kfree,
    validate_list,
)
from swaplab.kernel.sync.bugs import Broken, DoubleFree, UseAfterFree
from swaplab.kernel.sync.runtime import PLAIN, READ, WRITE, operation
from swaplab.kernel.sync.shared import Elements
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.zsmalloc import SERVING, ZS_HANDLE_SIZE, ZS_MAX_ALLOC_SIZE, ZS_SIZE_CLASSES, SizeClass, class_of_size

__all__ = [
    "ZsPool",
    "validate_pool",
    "zs_destroy_pool",
    "zs_free",
    "zs_get_total_pages",
    "zs_malloc",
    "zs_map_object",
    "zs_obj_write",
]

# enum fullness_group: no object in use, then one group for each begun tenth, then all in use.
ZS_INUSE_RATIO_0, ZS_INUSE_RATIO_99, ZS_INUSE_RATIO_100, NR_FULLNESS_GROUPS = 0, 10, 11, 12
OBJ_ALLOCATED_TAG = 1
OBJ_TAG_BITS = 1
NO_OBJECT = (1 << 63) - 1  # the link of the last free object


# Pools ----------------------------------------------------------------------------------------------------------------

_LINK = Struct("<Q")
_get_link, _put_link = _LINK.unpack_from, _LINK.pack_into


class Chain(Elements):
    """The pages of a zspage, by object: the bytes of each are a variable of their own.

    Args:
        zspage: whose pages they are.
        size_class: of its objects.

    Attributes:
        memory: of all pages; for looks from outside that are no operation of a task.
    """

    __slots__ = ("memory", "size")

    def __init__(self, zspage: Zspage, size_class: SizeClass) -> None:
        Elements.__init__(self, zspage, "pages")
        self.size = size_class.size
        self.memory = bytearray(_blank_pages(size_class))

    def _make(self, obj: int) -> Part:
        return Part(self.owner, f"{self.name}[{obj}]")

    def header(self, obj: int) -> int:
        """Look at the first 8 bytes of an object: its handle, or the next free object, with OBJ_ALLOCATED_TAG."""
        return int(_get_link(self.memory, obj * self.size)[0])

    @operation(WRITE | PLAIN, "write", at=Elements.element)
    def swap_header(self, obj: int, header: int) -> int:
        """Write it, and return what it was."""
        (found,) = _get_link(self.memory, obj * self.size)
        _put_link(self.memory, obj * self.size, header)
        return int(found)

    @operation(READ | PLAIN, "read", at=Elements.element)
    def read(self, obj: int, skip: int, length: int) -> bytes:
        """Read bytes of an object after the first ones."""
        at = obj * self.size + skip
        return bytes(self.memory[at : at + length])

    @operation(WRITE | PLAIN, "write", at=Elements.element)
    def write(self, obj: int, skip: int, data: bytes) -> None:
        """Write bytes of an object after the first ones."""
        at = obj * self.size + skip
        self.memory[at : at + len(data)] = data


class Zspage(Shared):
    """struct zspage: a chain of pages, and which of its objects are free. Its class's lock protects it.

    Attributes:
        chain: its pages.
        inuse: objects in use.
        freeobj: the first free one.
        fullness: the group it is in.
        index: handle of a huge object, with its tag; 0 if it is free. It is in the first page's struct page.
    """

    zs_class: Final[ZsClass]
    chain: Final[Chain]
    list: Final[ListNode[Zspage]]
    inuse: int
    freeobj: int
    fullness: int
    index: int

    def __init__(self, zs_class: ZsClass) -> None:
        self.zs_class = zs_class
        self.chain = Chain(self, zs_class.size_class)
        self.list = ListNode(self, "list")
        self.inuse = self.freeobj = self.fullness = self.index = 0


class ZsClass(Part):
    """struct size_class: what a pool has in one class.

    Differs: its lists are made when they are first needed. The lock is held then, so that no task can tell.

    Attributes:
        pool: whose it is.
        fullness_groups: by objects in use, of its zspages: mm/zsmalloc.c:get_fullness_group.
        is_huge: whether objects fill their page, so that the handle is elsewhere: mm/zsmalloc.c:ZsHugePage.
    """

    __slots__ = ("fullness_groups", "fullness_list", "is_huge", "lock", "pool", "size_class")

    def __init__(self, pool: ZsPool, size_class: SizeClass) -> None:
        Part.__init__(self, pool, f"size_class[{size_class.index}]")
        self.pool = pool
        self.size_class = size_class
        self.lock = SpinLock(pool, f"{self.name}.lock")
        self.fullness_groups = _fullness_groups(size_class.objs_per_zspage)
        self.is_huge = size_class.objs_per_zspage == size_class.pages_per_zspage == 1
        self.fullness_list: list[ListHead[Zspage] | None] = [None] * NR_FULLNESS_GROUPS

    def group(self, fullness: int) -> ListHead[Zspage]:
        """Return the list of a fullness group."""
        head = self.fullness_list[fullness]
        if head is None:
            head = self.fullness_list[fullness] = ListHead(self.owner, f"{self.name}.fullness_list[{fullness}]")
        return head


class ZsClasses(Elements):
    """The classes of a pool, by index."""

    __slots__ = ("pool",)

    def __init__(self, pool: ZsPool) -> None:
        Elements.__init__(self, pool, "size_class")
        self.pool = pool

    def _make(self, index: int) -> ZsClass:
        return ZsClass(self.pool, SERVING[index])


class ZsPool(Shared):
    """struct zs_pool: mm/zsmalloc.c:zs_create_pool.

    Args:
        name: for texts.
        zone: where its pages come from.

    Attributes:
        pages_allocated: pages of all its zspages.
        size_class: what it has in each class.
        handles: zspage and object by handle.
        handles_made: by class, how many handles there have been; under the class's lock. Differs: a handle is a number
            that is never given out again.
    """

    name: Final[str]
    zone: Final[Zone]
    pages_allocated: Final[Atomic]
    size_class: Final[ZsClasses]
    handles: Final[Table[int, tuple[Zspage, int]]]
    handles_made: Final[Array[int]]

    def __init__(self, name: str, zone: Zone) -> None:
        self.name = name
        self.zone = zone
        self.pages_allocated = Atomic(self, "pages_allocated")
        self.size_class = ZsClasses(self)
        self.handles = Table(self, "handles")
        self.handles_made = Array(self, "handles_made", [0] * ZS_SIZE_CLASSES)


@cache
def _blank_pages(size_class: SizeClass) -> bytes:
    """Pages of a chain whose objects are all free, each linked to the next: mm/zsmalloc.c:init_zspage."""
    chain = bytearray(size_class.pages_per_zspage * PAGE_SIZE)
    for obj in range(size_class.objs_per_zspage):
        following = obj + 1 if obj + 1 < size_class.objs_per_zspage else NO_OBJECT
        _put_link(chain, obj * size_class.size, following << OBJ_TAG_BITS)
    return bytes(chain)


@cache
def _fullness_groups(objs: int) -> tuple[int, ...]:
    """Fullness groups by objects in use, of zspages with `objs` objects."""
    partly = [100 * inuse // objs // 10 + 1 for inuse in range(1, objs)]
    return (ZS_INUSE_RATIO_0, *partly, ZS_INUSE_RATIO_100)


def get_fullness_group(zspage: Zspage) -> int:
    """Fullness group that a zspage belongs to: mm/zsmalloc.c:get_fullness_group."""
    return zspage.zs_class.fullness_groups[zspage.inuse]


def lookup_size_class(pool: ZsPool, size: int) -> ZsClass:
    """Class for objects of `size` bytes with their handle: mm/zsmalloc.c:lookup_size_class."""
    found = pool.size_class.element(class_of_size(size).index)
    assert isinstance(found, ZsClass)
    return found


def insert_zspage(zspage: Zspage, fullness: int) -> None:
    """Put a zspage on the list of its group: mm/zsmalloc.c:insert_zspage."""
    zspage.zs_class.group(fullness).add(zspage.list)
    zspage.fullness = fullness


def fix_fullness_group(zspage: Zspage) -> int:
    """Move a zspage to the group that it belongs to now: mm/zsmalloc.c:fix_fullness_group."""
    fullness = get_fullness_group(zspage)
    if fullness != zspage.fullness:
        zspage.list.delete()
        insert_zspage(zspage, fullness)
    return fullness


def find_get_zspage(zs_class: ZsClass) -> Zspage | None:
    """First zspage of the fullest group that has room: mm/zsmalloc.c:find_get_zspage."""
    for head in zs_class.fullness_list[ZS_INUSE_RATIO_99::-1]:
        if head is not None and (zspage := head.first()):
            return zspage
    return None


def alloc_zspage(pool: ZsPool, zs_class: ZsClass) -> Zspage | None:
    """Make a zspage if there are pages for it: mm/zsmalloc.c:alloc_zspage."""
    if current.runtime.fails("kmalloc") or not pool.zone.alloc(zs_class.size_class.pages_per_zspage):
        return None
    return Zspage(zs_class)


def free_zspage(zspage: Zspage) -> None:
    """Free a zspage without objects, whose class is locked: mm/zsmalloc.c:free_zspage."""
    pool, pages = zspage.zs_class.pool, zspage.zs_class.size_class.pages_per_zspage
    zspage.list.delete()
    pool.pages_allocated.add(-pages)
    pool.zone.give_back(pages)
    kfree(zspage)


def obj_malloc(zspage: Zspage) -> int:
    """Give a zspage's first free object to a new handle: mm/zsmalloc.c:obj_malloc. Returns the handle."""
    zs_class = zspage.zs_class
    pool, index = zs_class.pool, zs_class.size_class.index
    made = pool.handles_made[index] + 1
    pool.handles_made[index] = made
    handle = made * ZS_SIZE_CLASSES + index
    obj = zspage.freeobj
    header = handle << OBJ_TAG_BITS | OBJ_ALLOCATED_TAG
    if zs_class.is_huge:
        zspage.freeobj, zspage.index = NO_OBJECT, header
    else:
        zspage.freeobj = zspage.chain.swap_header(obj, header) >> OBJ_TAG_BITS
    zspage.inuse += 1
    pool.handles[handle] = (zspage, obj)
    return handle


def obj_free(zspage: Zspage, obj: int) -> None:
    """Make an object the first free one of its zspage: mm/zsmalloc.c:obj_free."""
    if zspage.zs_class.is_huge:
        zspage.index = 0
    else:
        zspage.chain.swap_header(obj, zspage.freeobj << OBJ_TAG_BITS)
    zspage.freeobj = obj
    zspage.inuse -= 1


def zs_malloc(pool: ZsPool, size: int) -> int:
    """Find room for `size` bytes: mm/zsmalloc.c:zs_malloc.

    Returns:
        A handle, or a negative errno: ENOSPC if `size` is more than a page, ENOMEM if there is no memory.
    """
    if not 0 < size <= ZS_MAX_ALLOC_SIZE:
        return -ENOSPC if size else -EINVAL
    if current.runtime.fails("kmalloc"):
        return -ENOMEM
    zs_class = lookup_size_class(pool, size + ZS_HANDLE_SIZE)
    with zs_class.lock:
        zspage = find_get_zspage(zs_class)
        if zspage:
            handle = obj_malloc(zspage)
            fix_fullness_group(zspage)
            return handle
    # Allocation may sleep. Others may have made room meanwhile; this is not checked.
    zspage = alloc_zspage(pool, zs_class)
    if not zspage:
        return -ENOMEM
    with zs_class.lock:
        handle = obj_malloc(zspage)
        insert_zspage(zspage, get_fullness_group(zspage))
        pool.pages_allocated.add(zs_class.size_class.pages_per_zspage)
    return handle


def zs_free(pool: ZsPool, handle: int) -> None:
    """Free an object: mm/zsmalloc.c:zs_free.

    Raises:
        DoubleFree: there is no such object any more.
    """
    found = pool.handles.pop(handle)
    if not found:
        raise DoubleFree(f"{pool.label}: handle {handle} is freed twice")
    zspage, obj = found
    with zspage.zs_class.lock:
        obj_free(zspage, obj)
        if fix_fullness_group(zspage) == ZS_INUSE_RATIO_0:
            free_zspage(zspage)


def _locate(pool: ZsPool, handle: int) -> tuple[Chain, int, int]:
    """Return pages, object, and how many of its bytes are not its contents."""
    found = pool.handles.get(handle)
    if not found:
        raise UseAfterFree(f"{pool.label}: handle {handle} is used after it was freed")
    zspage, obj = found
    return zspage.chain, obj, 0 if zspage.zs_class.is_huge else ZS_HANDLE_SIZE


def zs_obj_write(pool: ZsPool, handle: int, data: bytes) -> None:
    """Put bytes into an object: mm/zsmalloc.c:zs_map_object, for writing; named as in 6.15.

    Raises:
        UseAfterFree: there is no such object any more.
    """
    chain, obj, skip = _locate(pool, handle)
    chain.write(obj, skip, data)


def zs_map_object(pool: ZsPool, handle: int, length: int) -> bytes:
    """Get the first bytes of an object: mm/zsmalloc.c:zs_map_object, for reading.

    Raises:
        UseAfterFree: there is no such object any more.
    """
    chain, obj, skip = _locate(pool, handle)
    return chain.read(obj, skip, length)


def zs_get_total_pages(pool: ZsPool) -> int:
    """Pages that a pool has: mm/zsmalloc.c:zs_get_total_pages."""
    return pool.pages_allocated.read()


def zs_destroy_pool(pool: ZsPool) -> None:
    """End a pool: mm/zsmalloc.c:zs_destroy_pool.

    Raises:
        KernelWarning: it still has objects.
    """
    if pool.handles:
        raise KernelWarning(f"{pool.label} is destroyed with {len(pool.handles)} objects in it")
    kfree(pool)


# Looks from outside ---------------------------------------------------------------------------------------------------


def _free_objects(zspage: Zspage) -> list[int]:
    """Follow the links from the first free object on."""
    size_class = zspage.zs_class.size_class
    found: list[int] = []
    obj = zspage.freeobj
    while obj != NO_OBJECT and len(found) < size_class.objs_per_zspage:
        link = NO_OBJECT << OBJ_TAG_BITS if zspage.zs_class.is_huge else zspage.chain.header(obj)
        if obj >= size_class.objs_per_zspage or link & OBJ_ALLOCATED_TAG:
            raise Broken(f"{zspage.label}: object {obj} is linked as free, but is none")
        found.append(obj)
        obj = link >> OBJ_TAG_BITS
    return found


def _handle_in(zspage: Zspage, obj: int) -> int:
    """Read which handle an object in use says it has."""
    header = zspage.index if zspage.zs_class.is_huge else zspage.chain.header(obj)
    if not header & OBJ_ALLOCATED_TAG:
        raise Broken(f"{zspage.label}: object {obj} is in use, but not marked so")
    return header >> OBJ_TAG_BITS


def _validate_zspage(zspage: Zspage, fullness: int) -> None:
    objects = zspage.zs_class.size_class.objs_per_zspage
    free = set(_free_objects(zspage)) if zspage.inuse < objects else set()
    if len(free) + zspage.inuse != objects or not zspage.fullness == fullness == get_fullness_group(zspage):
        raise Broken(f"{zspage.label}: {zspage.inuse} of {objects} objects in use, {len(free)} free, group {fullness}")
    handles = zspage.zs_class.pool.handles.items
    for obj in set(range(objects)) - free:
        if handles.get(_handle_in(zspage, obj)) != (zspage, obj):
            raise Broken(f"{zspage.label}: object {obj} does not have the handle it says")


def validate_pool(pool: ZsPool) -> None:
    """Check that handles, objects, zspages, groups and the count of pages agree. No task may be changing them.

    Raises:
        Broken: they do not.
        ListCorruption: a list is damaged.
    """
    pages = objects = 0
    for zs_class in pool.size_class.elements.values():
        assert isinstance(zs_class, ZsClass)
        for fullness, head in enumerate(zs_class.fullness_list):
            if head is None:
                continue
            validate_list(head)
            for zspage in head.entries():
                _validate_zspage(zspage, fullness)
                pages += zs_class.size_class.pages_per_zspage
                objects += zspage.inuse
    if (pages, objects) != (pool.pages_allocated.value, len(pool.handles.items)):
        found = f"{pages} pages and {objects} objects"
        raise Broken(
            f"{pool.label}: {found}, but {pool.pages_allocated.value} and {len(pool.handles.items)} are counted"
        )
