"""What zswap is doing on a machine: its counters read, explained, and held against its settings."""
