"""Zswap on a machine: its counters read, explained, and compared with its settings."""
