from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from errno import EINVAL, ENOMEM, ENOSPC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.linux.pool import pool_pages

from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.sync import Direct, KernelWarning, install
from swaplab.kernel.sync.bugs import Broken, DoubleFree, UseAfterFree
from swaplab.kernel.zsmalloc import (
    ZsPool,
    validate_pool,
    zs_destroy_pool,
    zs_free,
    zs_get_total_pages,
    zs_malloc,
    zs_map_object,
    zs_obj_write,
)
from swaplab.linux.zsmalloc import SIZE_CLASSES, SizeClass


@pytest.fixture
def pool() -> Iterator[ZsPool]:
    with install(Direct()):
        yield ZsPool("zswap1", Zone(10_000))


def content(number: int, length: int) -> bytes:
    return (number.to_bytes(4, "little") * 1024)[:length]


@given(st.lists(st.one_of(st.integers(1, 4096), st.integers(0, 60).map(lambda n: -n)), max_size=150))
def test_objects_keep_their_bytes_whatever_happens_to_others(actions: list[int]) -> None:
    """A positive action stores that many bytes, a negative one frees the object stored so many before the last."""
    with install(Direct()):
        zone = Zone(10_000)
        pool = ZsPool("zswap1", zone)
        stored: dict[int, bytes] = {}
        for number, action in enumerate(actions):
            if action > 0:
                handle = zs_malloc(pool, action)
                assert handle > 0
                assert handle not in stored
                stored[handle] = content(number, action)
                zs_obj_write(pool, handle, stored[handle])
            elif stored:
                handle = list(stored)[max(0, len(stored) - 1 + action)]
                del stored[handle]
                zs_free(pool, handle)
            validate_pool(pool)
            assert zone.free + zs_get_total_pages(pool) == zone.pages
            for handle, data in stored.items():
                assert zs_map_object(pool, handle, len(data)) == data
        if not any(action <= 0 for action in actions):
            assert zs_get_total_pages(pool) == pool_pages(actions)
        for handle in stored:
            zs_free(pool, handle)
        assert zs_get_total_pages(pool) == 0
        zs_destroy_pool(pool)


@given(st.sampled_from(SIZE_CLASSES), st.lists(st.integers(0, 500), max_size=60), st.integers(1, 400))
def test_the_fullest_group_with_room_is_filled_first(size_class: SizeClass, holes: list[int], more: int) -> None:
    objs = size_class.objs_per_zspage
    with install(Direct()):
        pool = ZsPool("zswap1", Zone(10_000))
        handles = [zs_malloc(pool, size_class.size - 8) for _ in range(min(400, 4 * objs))]
        for hole in holes:
            if handles:
                zs_free(pool, handles.pop(hole % len(handles)))
        for _ in range(more % 20):
            chains = Counter(id(zspage) for zspage, _ in pool.handles.items.values())
            room = [(100 * n // objs // 10, n) for n in chains.values() if n < objs]
            handle = zs_malloc(pool, size_class.size - 8)
            zspage = pool.handles[handle][0]
            if room:
                assert 100 * chains[id(zspage)] // objs // 10 == max(room)[0]
            else:
                assert zspage.inuse == 1
            validate_pool(pool)


def test_an_object_may_straddle_two_pages(pool: ZsPool) -> None:
    handles = [zs_malloc(pool, 3000) for _ in range(4)]
    for number, handle in enumerate(handles, 1):
        zs_obj_write(pool, handle, content(number, 3000))
    zspage = pool.handles[handles[1]][0]
    begin = zspage.zs_class.size_class.size + 8
    assert begin < 4096 < begin + 3000
    assert zspage.chain.memory[begin : begin + 3000] == content(2, 3000)


def test_a_huge_object_has_a_page_to_itself(pool: ZsPool) -> None:
    handle = zs_malloc(pool, 4096)
    zs_obj_write(pool, handle, content(7, 4096))
    assert bytes(pool.handles[handle][0].chain.memory[:4096]) == content(7, 4096)
    assert zs_get_total_pages(pool) == 1
    zs_free(pool, handle)
    assert zs_get_total_pages(pool) == 0


@pytest.mark.parametrize(("size", "error"), [(0, -EINVAL), (4097, -ENOSPC)])
def test_sizes_that_zs_malloc_refuses(pool: ZsPool, size: int, error: int) -> None:
    assert zs_malloc(pool, size) == error
    validate_pool(pool)


@pytest.mark.parametrize(("kind", "which"), [("kmalloc", 0), ("kmalloc", 1), ("alloc_page", 0)])
def test_without_memory_nothing_changes(kind: str, which: int) -> None:
    asked = Counter[str]()

    def fails(what: str) -> bool:
        asked[what] += 1
        return what == kind and asked[what] == which + 1

    zone = Zone(10)
    with install(Direct(fails)):
        pool = ZsPool("zswap1", zone)
        assert zs_malloc(pool, 100) == -ENOMEM
        assert (zone.free, zs_get_total_pages(pool)) == (10, 0)
        validate_pool(pool)


def test_pages_that_there_are_not_are_not_taken() -> None:
    with install(Direct()):
        zone = Zone(7)
        pool = ZsPool("zswap1", zone)
        assert zs_malloc(pool, 3624) == -ENOMEM
        assert zone.nr_free() == 7
        assert zs_malloc(pool, 24) > 0
        assert zone.nr_free() == 6


def test_misuse_is_noticed(pool: ZsPool) -> None:
    handle = zs_malloc(pool, 100)
    with pytest.raises(KernelWarning, match="1 objects"):
        zs_destroy_pool(pool)
    zs_free(pool, handle)
    with pytest.raises(DoubleFree, match="twice"):
        zs_free(pool, handle)
    with pytest.raises(UseAfterFree, match="after it was freed"):
        zs_map_object(pool, handle, 100)
    with pytest.raises(UseAfterFree, match="after it was freed"):
        zs_obj_write(pool, handle, b"x")


def overwrite_header(pool: ZsPool, handle: int) -> None:
    pool.handles[handle][0].chain.memory[0:8] = bytes(8)


def overwrite_link(pool: ZsPool, handle: int) -> None:
    pool.handles[handle][0].chain.memory[112:120] = b"\xff" * 8


def count_wrongly(pool: ZsPool, handle: int) -> None:
    pool.handles[handle][0].inuse += 1


def forget_a_page(pool: ZsPool, handle: int) -> None:
    pool.pages_allocated.add(-1)


def lose_a_handle(pool: ZsPool, handle: int) -> None:
    pool.handles.pop(handle)


def group_wrongly(pool: ZsPool, handle: int) -> None:
    pool.handles[handle][0].fullness = 5


@pytest.mark.parametrize(
    "damage", [overwrite_header, overwrite_link, count_wrongly, forget_a_page, lose_a_handle, group_wrongly]
)
def test_the_validator_sees_damage(pool: ZsPool, damage: Callable[[ZsPool, int], None]) -> None:
    handle = zs_malloc(pool, 100)
    validate_pool(pool)
    damage(pool, handle)
    with pytest.raises(Broken):
        validate_pool(pool)
