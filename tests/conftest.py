"""What holds for all tests: they find the same examples every time, and leave the user's cache alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from swaplab.cache import cache_dir

settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache directory for the session; compiled code is that of the user's."""
    compiled = cache_dir() / "compiled"
    compiled.mkdir(exist_ok=True)
    directory = tmp_path_factory.mktemp("cache")
    (directory / "swaplab").mkdir(mode=0o700)
    (directory / "swaplab/compiled").symlink_to(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory))
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Programs in the background of a shell ignore ctrl-C, and so would all that tests start and then interrupt."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
