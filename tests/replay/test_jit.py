"""What the compiler keeps between processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from swaplab.replay.jit import is_cached
from swaplab.replay.stats import read_stats


def test_code_of_another_version_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index names a type that is no more."""
    function: Any = read_stats
    file = function._cache._cache_file
    index = tmp_path / "read_stats.nbi"
    index.write_bytes(pickle.dumps(file._version) + b"cswaplab.replay.reference\nGone\n.")
    monkeypatch.setattr(file, "_index_path", str(index))
    assert not is_cached(function)
