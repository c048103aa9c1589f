"""What tests run on a real kernel: it and its source are fetched the first time; pytest's own cache keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from swaplab.vm import Kernel, debian_kernel
from swaplab.vm.selftest import debian_source

T = TypeVar("T")


def fetched(config: pytest.Config, fetch: Callable[[], T]) -> T:
    assert config.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(config.cache.mkdir("kernel")))
        return fetch()


@pytest.fixture(scope="session")
def kernel(pytestconfig: pytest.Config) -> Kernel:
    return fetched(pytestconfig, debian_kernel)


@pytest.fixture(scope="session")
def source(pytestconfig: pytest.Config) -> Path:
    return fetched(pytestconfig, debian_source)
