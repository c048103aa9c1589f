"""What a pool comes to by arithmetic, to hold the two that keep one to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from swaplab.linux.zsmalloc import SIZE_CLASSES, class_of_length


def pool_pages(lengths: ArrayLike) -> int:
    """Pages that a pool takes when it is filled with objects of these lengths and nothing was ever freed."""
    objects = np.bincount(class_of_length()[np.asarray(lengths, np.int64)], minlength=len(SIZE_CLASSES))
    _, _, chain, capacity = np.array(SIZE_CLASSES).T
    return int(np.sum(-(-objects // capacity) * chain))
