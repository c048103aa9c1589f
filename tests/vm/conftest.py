"""The kernel that tests run on."""

from __future__ import annotations

import pytest

from swaplab.vm import Kernel, debian_kernel


@pytest.fixture(scope="session")
def kernel(pytestconfig: pytest.Config) -> Kernel:
    """Debian's newest, fetched the first time; pytest's own cache keeps it."""
    assert pytestconfig.cache is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(pytestconfig.cache.mkdir("kernel")))
        return debian_kernel()
