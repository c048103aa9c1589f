"""How hard reclaim tries."""

from __future__ import annotations

__all__ = ["DEF_PRIORITY", "MAX_RECLAIM_RETRIES", "SWAP_CLUSTER_MAX"]

DEF_PRIORITY = 12
"""A scan begins with this part, as a power of two, of what there is (include/linux/mmzone.h)."""
MAX_RECLAIM_RETRIES = 16
"""Times that reclaim may come back with nothing (mm/internal.h): of a charge, of kswapd, of zswap's worker."""
SWAP_CLUSTER_MAX = 32
"""Pages that are scanned at a time (include/linux/swap.h)."""
