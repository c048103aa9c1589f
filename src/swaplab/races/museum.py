"""Finds the exhibits, and the suspicions."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from swaplab import races
from swaplab.races.exhibit import Exhibit

__all__ = ["exhibits", "suspects"]


def exhibits() -> list[Exhibit]:
    """Return the exhibits of this package, in the order of its modules' names."""
    return _named("EXHIBIT")


def suspects() -> list[Exhibit]:
    """Return what is suspected of Linux 7.2, in that order: as read, as broken if that is what the model says."""
    return _named("SUSPECT")


def _named(name: str) -> list[Exhibit]:
    names = sorted(module.name for module in iter_modules(races.__path__))
    modules = [import_module(f"{races.__name__}.{each}") for each in names]
    return [getattr(module, name) for module in modules if hasattr(module, name)]
