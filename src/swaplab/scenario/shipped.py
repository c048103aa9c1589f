"""Scenarios that ship with swaplab: beside its source, or in what pip has installed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["shipped"]

_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE, _PACKAGE.parents[1])


def shipped(path: Path) -> Path:
    """Return what a path means: itself, or where nothing is there, what ships under it (``scenarios/demo.toml``)."""
    if path.is_absolute() or path.parts[:1] != ("scenarios",) or ".." in path.parts or path.exists():
        return path
    return next((found for place in _PLACES if (found := place / path).exists()), path)
