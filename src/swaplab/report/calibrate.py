"""Costs as a table."""

from __future__ import annotations

from swaplab.report.parts import Table
from swaplab.scenario.cost import Cost

__all__ = ["cost_table"]


def cost_table(cost: Cost) -> Table:
    """One row for each number of a cost file, in nanoseconds."""
    table = Table("Costs in nanoseconds", ["", "ns"])
    table.add_row("access", f"{cost.access_ns:,}")
    table.add_row("minor fault", f"{cost.fault_minor_ns:,}")
    table.add_row("major fault, without the device", f"{cost.fault_major_ns:,}")
    table.add_row("look at a page in reclaim", f"{cost.reclaim_page_ns:,}")
    for what, times in (("compress", cost.compress_ns), ("decompress", cost.decompress_ns)):
        for name, nanoseconds in times.items():
            table.add_row(f"{what} {name}", f"{nanoseconds:,}")
    return table
