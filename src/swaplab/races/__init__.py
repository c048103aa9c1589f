"""The museum: published races of zswap, memcg, list_lru and swap, which the explorer has to find by itself."""
