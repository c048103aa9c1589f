"""The compiled simulator: reclaim and zswap over flat arrays."""
