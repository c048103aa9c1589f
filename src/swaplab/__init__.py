"""swaplab: a laboratory for Linux zswap."""

__version__ = "0.1.0"
