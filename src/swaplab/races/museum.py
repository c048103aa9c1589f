"""Finds the exhibits, and the suspicions."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from swaplab import races
from swaplab.races.exhibit import Exhibit

__all__ = ["exhibits", "suspects"]


def exhibits() -> list[Exhibit]:
    """Return the exhibits of this package, in the order of its modules' names."""
    return [module.EXHIBIT for module in _modules() if hasattr(module, "EXHIBIT")]


def suspects() -> list[Exhibit]:
    """Return what is suspected of Linux 7.2, in that order: as read, as broken if that is what the model says."""
    return [module.SUSPECT for module in _modules() if hasattr(module, "SUSPECT")]


def _modules() -> list[ModuleType]:
    names = sorted(module.name for module in iter_modules(races.__path__))
    return [import_module(f"{races.__name__}.{each}") for each in names]
