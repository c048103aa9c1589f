"""Arrays, tables and bitmaps while nobody watches."""

from __future__ import annotations

from functools import partial

import pytest

from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Array, Bitmap, Table
from swaplab.kernel.sync.threads import Threads


def test_array() -> None:
    array: Array[int] = Array(None, "array", [0] * 3)
    array[1] = 5
    WRITE_ONCE(array)[2] = READ_ONCE(array)[1] + 1
    assert (list(array), len(array)) == ([0, 5, 6], 3)
    with pytest.raises(IndexError):
        array[3] = 1


def test_find() -> None:
    array: Array[int] = Array(None, "array", bytearray(b"\1\0\1\0\0\2"))
    assert (array.find(b"\0"), array.find(b"\0", 2), array.find(b"\0\0"), array.find(b"\0\0\0")) == (1, 3, 3, -1)
    assert (array.find(b"\2"), array.find(b"\0\0", 4), array.find(b"\0\2")) == (5, -1, 4)


def test_bitmap() -> None:
    bits = Bitmap(None, "bits", 2)
    assert (bits.test_and_set_bit(1), bits.test_and_set_bit(1), bits.test_bit(0)) == (False, True, False)
    bits.set_bit(0)
    bits.clear_bit(1)
    assert (bits.test_bit(0), bits.test_bit(1), bits.test_and_clear_bit(0), bits.test_bit(0)) == (1, 0, 1, 0)


def test_table() -> None:
    table: Table[int, str] = Table(None, "table")
    table[2], table[1] = "two", "one"
    assert (table[2], table.get(3), 1 in table, 3 in table, table.keys(), list(table), len(table)) == (
        "two",
        None,
        True,
        False,
        (1, 2),
        [1, 2],
        2,
    )
    assert (table.pop(2), table.pop(2), table.keys()) == ("two", None, (1,))
    with pytest.raises(KeyError):
        table[2]


def test_threads_take_each_bit_once() -> None:
    bits, taken = Bitmap(None, "bits", 400), Array[int](None, "taken", [0] * 4)

    def take(thread: int) -> None:
        for nr in range(400):
            if not bits.test_and_set_bit(nr):
                taken[thread] += 1

    with Threads() as threads:
        threads.run(partial(take, thread) for thread in range(4))
    assert sum(taken) == 400
