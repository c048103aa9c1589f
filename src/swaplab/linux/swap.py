"""How swap space is divided."""

from __future__ import annotations

__all__ = ["SWAPFILE_CLUSTER"]

SWAPFILE_CLUSTER = 512
"""Slots of a cluster (mm/swapfile.c): of a huge page, HPAGE_PMD_NR, where CONFIG_THP_SWAP is set, as Debian has it on
x86-64 (def_bool y with TRANSPARENT_HUGEPAGE); 256 without."""
