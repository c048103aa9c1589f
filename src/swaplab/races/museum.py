"""Finds the exhibits."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from swaplab import races
from swaplab.races.exhibit import Exhibit

__all__ = ["exhibits"]


def exhibits() -> list[Exhibit]:
    """Return the exhibits of this package, in the order of its modules' names."""
    modules = [
        import_module(f"{races.__name__}.{name}") for name in sorted(m.name for m in iter_modules(races.__path__))
    ]
    return [module.EXHIBIT for module in modules if hasattr(module, "EXHIBIT")]
