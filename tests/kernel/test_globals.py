"""What modules of kernel/ and linux/ define never changes: all of a machine is in the machine."""

from __future__ import annotations

from collections import deque
from importlib import import_module
from pkgutil import walk_packages

import pytest

import swaplab.kernel
import swaplab.linux

MODULES = [
    each.name
    for package in (swaplab.kernel, swaplab.linux)
    for each in walk_packages(package.__path__, f"{package.__name__}.")
]
"""But for those of `sync`, which keeps track of what runs."""


@pytest.mark.parametrize("name", [each for each in MODULES if not each.startswith("swaplab.kernel.sync")])
def test_it_never_changes(name: str) -> None:
    """The explorer compares all that tasks can reach and that may change, at each step of some executions."""
    defined = {key: each for key, each in vars(import_module(name)).items() if key[:2] != "__"}
    assert {key for key, each in defined.items() if isinstance(each, list | dict | set | bytearray | deque)} == set()
