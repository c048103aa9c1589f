"""``swaplab calibrate``: what things cost on this machine."""

from __future__ import annotations

from pathlib import Path

from swaplab.cli.common import Flag, Output, check_output, report_beside, say, say_json, show, steps
from swaplab.files import write_whole
from swaplab.host.calibrate import STEPS, measure_cost
from swaplab.host.disk import DISK_STEPS, measure_device
from swaplab.report.calibrate import cost_table
from swaplab.scenario.cost import Cost
from swaplab.scenario.device import Device

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
        Write the costs as a cost file.
    device
        A directory on the disk to measure; it takes 128 MiB there for some seconds.
    json
        Print JSON instead of a table.
    """
    check_output(output)
    with steps("measuring", STEPS + DISK_STEPS * (device is not None)) as step:
        disk = measure_device(device, step=step) if device else None
        cost = measure_cost(step=step)
    if output:
        with write_whole(output) as partial:
            partial.write_text(cost.to_toml())
    with report_beside(output):
        _show(cost, disk, json)


def _show(cost: Cost, disk: Device | None, json: bool) -> None:
    if json:
        say_json({"cost": cost, "device": disk})
    else:
        _print(cost, disk)


def _print(cost: Cost, disk: Device | None) -> None:
    show([cost_table(cost), cost.source])
    if disk:
        say(f"device = {disk.to_toml()}")
