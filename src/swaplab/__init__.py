"""swaplab: a laboratory for Linux zswap."""

from swaplab.explore import Program, explore

__all__ = ["Program", "__version__", "explore"]

__version__ = "0.1.0"
