"""``swaplab calibrate``: what things cost on this machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from swaplab.cli.common import Flag, Output, check_output, report_beside, say, say_json, show, steps
from swaplab.files import write_whole
from swaplab.host.calibrate import ROUNDS_MAX, Calibration, measure_cost
from swaplab.host.disk import DISK_STEPS, DeviceMeasured, measure_device
from swaplab.report.calibrate import cost_table, device_table, doubts

__all__ = ["calibrate"]


def calibrate(
    *,
    output: Output = None,
    device: Path | None = None,
    json: Flag = False,
) -> None:
    """Measure this machine's processor, and with --device a disk, for the clock of the replay.

    Parameters
    ----------
    output
        Write the costs, and the device, as a cost file.
    device
        A directory on the disk to measure; it takes 128 MiB there for some seconds.
    json
        Print JSON instead of a table.
    """
    check_output(output)
    with steps("measuring", ROUNDS_MAX + DISK_STEPS * (device is not None)) as step:
        disk = measure_device(device, step=step) if device else None
        found = measure_cost(step=step)
    cost = msgspec.structs.replace(found.cost, device=disk.device if disk else None)
    if output:
        with write_whole(output) as partial:
            partial.write_text(cost.to_toml())
    with report_beside(output):
        if json:
            say_json(
                {
                    "cost": cost,
                    "spreads": found.spreads,
                    "waited": found.waited,
                    "unsteady": found.unsteady,
                    "orders": found.orders,
                    "device": disk,
                }
            )
        else:
            _print(found, disk)


def _print(found: Calibration, disk: DeviceMeasured | None) -> None:
    show([cost_table(found), *doubts(found), found.cost.source, *([device_table(disk.spreads)] if disk else [])])
    if disk:
        say(f"device = {disk.device.to_toml()}")
