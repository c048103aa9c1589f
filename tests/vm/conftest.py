"""The kernel that tests run on."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.vm import Kernel, debian_kernel
from swaplab.vm.selftest import debian_source


@pytest.fixture(scope="session")
def kernel(pytestconfig: pytest.Config) -> Kernel:
    """Debian's newest, fetched the first time; pytest's own cache keeps it."""
    assert pytestconfig.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(pytestconfig.cache.mkdir("kernel")))
        return debian_kernel()


@pytest.fixture(scope="session")
def source(pytestconfig: pytest.Config) -> Path:
    """What Debian's kernel tests itself with, fetched and kept in the same way."""
    assert pytestconfig.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(pytestconfig.cache.mkdir("kernel")))
        return debian_source()
