"""``swaplab doctor``: what zswap is doing on this machine, or on one whose counters were posted."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from swaplab.cli.common import Flag, Output, check_apart, check_output, console, report_beside, say, say_json, tell
from swaplab.doctor.facts import TEXT_MAX, Snapshot, parse
from swaplab.doctor.machine import read_machine
from swaplab.doctor.rules import diagnose
from swaplab.doctor.starter import scenario_text
from swaplab.doctor.watch import rates
from swaplab.errors import InputError
from swaplab.files import is_standard_output, write_whole
from swaplab.report.doctor import findings_text, rates_line
from swaplab.scenario.regular import read_regular

__all__ = ["doctor"]

HERE = "this machine"


def doctor(
    counters: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    scenario: Output = None,
    watch: Annotated[float | None, Parameter(validator=Number(gt=0, lte=86400))] = None,
    json: Flag = False,
) -> None:
    """Explain the zswap counters of this machine, or of a report, with the arithmetic. It changes nothing.

    Parameters
    ----------
    counters
        A file of counters and settings, in any form in which people post them; - reads standard input. By default,
        those of this machine.
    scenario
        Write a scenario of the machine, for `swaplab run`.
    watch
        Then print rates, once in this number of seconds, until interrupted.
    json
        Print JSON instead of text.
    """
    check_output(scenario, "--scenario")
    check_apart([counters] if counters else [], scenario)
    if counters and watch:
        raise InputError("--watch", "this machine's own counters", f"those of {counters}")
    source = str(counters or HERE)
    snapshot = _read(counters, source)
    if scenario:
        text = scenario_text(snapshot, source)
        with write_whole(scenario) as partial:
            partial.write_text(text)
    with report_beside(scenario):
        _show(snapshot, json)
        if watch:
            _watch(snapshot, watch, json)


def _read(counters: Path | None, source: str) -> Snapshot:
    if counters is None:
        text, unread = read_machine()
        snapshot = parse(text, source)
        snapshot.unread.extend(unread)
        return snapshot
    if is_standard_output(counters):
        return parse(sys.stdin.buffer.read(TEXT_MAX + 1).decode(errors="surrogateescape"), "standard input")
    return parse(read_regular(counters, TEXT_MAX).decode(errors="surrogateescape"), source)


def _show(snapshot: Snapshot, json: bool) -> None:
    findings = diagnose(snapshot)
    if json:
        say_json({"findings": findings, "unread": snapshot.unread})
    else:
        console().print(*findings_text(findings, snapshot), sep="\n")


def _watch(snapshot: Snapshot, seconds: float, json: bool) -> None:
    began = monotonic()
    tell("swaplab: watching; ctrl-C ends it")
    while True:
        sleep(seconds)
        late, now = _read(None, HERE), monotonic()
        found = rates(snapshot.machine, late.machine, now - began)
        say_json(found) if json else say(rates_line(found))
        sys.stdout.flush()
        snapshot, began = late, now
