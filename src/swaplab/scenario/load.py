"""Scenario files: TOML in, `Scenario` out, and a clear message on each mistake.

The keys are those of `Scenario`'s parts, but for these: ``[cgroup."a/b"]``, ``[[workload]]`` and ``[[event]]`` are
singular; limits are called as cgroup v2's files (``memory.max``); sizes are bytes or ``64M``; limits may be ``max``.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from swaplab.errors import InputError
from swaplab.files import naming
from swaplab.scenario.content import content_from_toml
from swaplab.scenario.device import Device
from swaplab.scenario.model import (
    LIMIT_FILES,
    Cgroup,
    Event,
    Machine,
    OwnTime,
    Proposed,
    Scenario,
    Swap,
    Workload,
    Zswap,
)
from swaplab.scenario.regular import open_regular, read_regular
from swaplab.scenario.toml import DEPTH_MAX, parse_toml
from swaplab.scenario.units import parse_duration, parse_size
from swaplab.scenario.validate import validate
from swaplab.text import to_json

__all__ = ["load_scenario", "parse_scenario"]

SCENARIO_BYTES_MAX = 1 << 20
PARQUET = b"PAR1"
TOP = (
    "name",
    "description",
    "machine",
    "zswap",
    "swap",
    "proposed",
    "cgroup",
    "workload",
    "event",
    "interleave",
    "samples",
)
LIMITS = {file: field for field, file in LIMIT_FILES.items()}
"""Fields of `Cgroup` by the keys that they have in a scenario's file."""
CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]")  # but for tabs and newlines, which a description may have
FROM_ZSWAP = " source=zswap"
ABOUT = "about "  # before a time that is an estimate
WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "array": "an array"}
Struct = TypeVar("Struct", bound=msgspec.Struct)
Table = dict[str, Any]


class _Again(msgspec.Struct, forbid_unknown_fields=True):
    """How many times an event happens, and how many accesses there are from one to the next."""

    times: Annotated[int, Meta(ge=1, le=10_000)] = 1
    every: Annotated[int, Meta(ge=0)] = 0


AGAIN = _Again.__struct_fields__


def load_scenario(path: Path, overrides: Sequence[str] = (), device: Device | None = None) -> Scenario:
    """Read and check a scenario file.

    Args:
        device: of swap, where the file says none.
        overrides: ``KEY=VALUE`` each, KEY as TOML would have it (``zswap.compressor=zstd``, ``workload.0.pages=9``).

    Raises:
        InputError: what is wrong, with file and key.
        OSError: the file cannot be read.
    """
    with naming(path), open_regular(path, path) as file:
        if file.read(len(PARQUET)) == PARQUET:  # of any size
            raise InputError(path, "a scenario", "Parquet; for a trace, write a scenario that has a workload with it")
    data = read_regular(path, SCENARIO_BYTES_MAX)
    try:
        text = data.decode("utf-8-sig")  # some editors begin all text with a mark
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start}", "UTF-8 text", error.reason) from None
    return parse_scenario(text, str(path), path.parent, overrides, device)


def parse_scenario(
    text: str, where: str, base: Path, overrides: Sequence[str] = (), device: Device | None = None
) -> Scenario:
    """Decode and check a scenario's text; file names in it are relative to `base`.

    Raises:
        InputError: what is wrong, with `where` and key.
    """
    table = _parse_toml(text, where)
    present = _names(table)
    for override in overrides:
        _merge(table, _parse_override(override), where)
    scenario = _scenario(table, where, base)
    if device and "device" not in table.get("swap", {}):
        scenario = msgspec.structs.replace(scenario, swap=msgspec.structs.replace(scenario.swap, device=device))
    for path in scenario.cgroups.keys() - present:
        _insist_used(path, scenario, where)
    validate(scenario)
    return scenario


def _names(table: Table) -> set[str]:
    """Return the cgroups that a scenario has tables for."""
    cgroups = table.get("cgroup")
    return set(cgroups) if isinstance(cgroups, dict) else set()


def _insist_used(path: str, scenario: Scenario, where: str) -> None:
    """Insist that what was set is of a cgroup with something in it, and no misspelling of one."""
    used = {each.cgroup for each in scenario.workloads} | {each.cgroup for each in scenario.events}
    if not any(f"{each}/".startswith(f"{path}/") for each in used):
        known = ", ".join(sorted((used | scenario.cgroups.keys()) - {path, ""})) or "none"
        raise InputError(f'{where}: --set cgroup."{path}"', f"a cgroup of the scenario ({known})", path)


def _parse_toml(text: str, where: str) -> Table:
    table = parse_toml(text, where)
    _check_values(table, where)
    return table


def _check_values(table: Table, where: str) -> None:
    """Refuse values that no key can mean, so that other code may print a value, or descend into it."""
    level: list[Any] = [table]
    for _ in range(DEPTH_MAX):
        level = [each for value in level for each in _inside(value)]
        for value in level:
            if isinstance(value, str) and (found := CONTROL.search(value)):
                raise InputError(where, "text without control characters", repr(found[0]))
            if isinstance(value, int) and value.bit_length() > 64:
                raise InputError(where, "numbers of at most 64 bits", f"one of {value.bit_length()}")
    if any(isinstance(value, dict | list) for value in level):
        raise InputError(where, f"at most {DEPTH_MAX} tables and arrays inside each other", "more")


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


# Overrides ------------------------------------------------------------------------------------------------------------


def _parse_override(override: str) -> Table:
    key, equals, value = override.partition("=")
    for right in (value, to_json(value)) if equals else ():
        with suppress(InputError):
            if table := _parse_toml(f"{key} = {right}", "--set"):
                return table
    raise InputError("--set", "KEY=VALUE with a key as in the scenario file", _shown(override))


def _merge(table: Table | list[Any], changes: Table, where: str) -> None:
    for key, value in changes.items():
        target: Any = table
        index: Any = key
        if isinstance(table, list):
            if not key.isdecimal() or int(key) >= len(table):
                raise InputError(f"{where}: --set", f"a number below {len(table)}", key)
            index = int(key)
        present = target[index] if isinstance(table, list) or key in table else None
        if isinstance(value, dict) and isinstance(present, dict | list):
            _merge(present, value, where)
        else:
            target[index] = value


# Decoding -------------------------------------------------------------------------------------------------------------


def _check_keys(table: object, known: Sequence[str], where: str) -> Table:
    if not isinstance(table, dict):
        raise InputError(where, "a table", _shown(table))
    for key in table:
        if key not in known:
            close = get_close_matches(str(key), known, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(where, f"only the keys {', '.join(known)}", f"{_shown(key)}{hint}")
    return table


def _shown(value: object) -> str:
    """The value, cut short where it is long."""
    text = reprlib.repr(value)
    return text if isinstance(value, list | dict) else {"True": "true", "False": "false"}.get(text, text)


def _convert(table: object, kind: type[Struct], where: str, extra: Mapping[str, Any] | None = None) -> Struct:
    """Decode a table into a struct; fields in `extra` are decoded already."""
    fields = kind.__struct_fields__
    plain = _check_keys(table, fields, where)
    try:
        converted: Struct = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        key = path.rstrip("`")
        found = _shown(_lookup(plain, key))
        raise InputError(f"{where}{key}", _expected(message, kind, key), found) from None
    return msgspec.structs.replace(converted, **extra) if extra else converted


def _expected(message: str, kind: type[msgspec.Struct], key: str) -> str:
    """Return the expected value at `key`, from msgspec's message."""
    if match := re.match("Object contains unknown field `(.*)`", message):
        return f"no key {match[1]}"
    if match := re.match("Object missing required field `(.*)`", message):
        return f"the key {match[1]}"
    if message.startswith(("Expected `object`", "Expected `int | str`", "Invalid")):
        field = re.split(r"[.\[]", key)[1]
        return " or ".join(_choices(get_type_hints(kind)[field]))
    expected = message.removeprefix("Expected ").partition(", got ")[0].replace(" | null", "")
    return re.sub("`(.*?)`", lambda match: WORDS.get(match[1], match[1]), expected)


def _choices(hint: object) -> list[str]:
    """Return the values of a type, in words."""
    if get_origin(hint) is Literal:
        return [str(each) for each in get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [str(hint.__struct_config__.tag)]
    inside = [each for argument in get_args(hint) for each in _choices(argument)]
    return ["a whole number", *inside] if int in get_args(hint) else inside


def _lookup(table: Table, path: str) -> object:
    value: Any = table
    for key in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal():
            value = value[int(key)]
    return value


def _sized(table: object, keys: Sequence[str], where: str) -> object:
    """The table with its sizes in bytes."""
    if not isinstance(table, dict):
        return table
    return {key: parse_size(value, f"{where}.{key}") if key in keys else value for key, value in table.items()}


def _flatten(table: Table, prefix: str = "") -> Table:
    """Join the keys of nested tables with dots: ``memory.max = 1`` is a table ``memory`` to TOML."""
    flat: Table = {}
    for key, value in table.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat


def _limit(key: str, value: object, where: str) -> int | bool | None:
    if key == "memory.zswap.writeback":
        if not isinstance(value, int) or value not in (0, 1):
            raise InputError(f"{where}.{key}", "true or false", _shown(value))
        return bool(value)
    return None if value == "max" else parse_size(value, f"{where}.{key}")


def _cgroup(table: object, where: str) -> Cgroup:
    if not isinstance(table, dict):
        raise InputError(where, "a table", _shown(table))
    nested = [key for key, value in table.items() if isinstance(value, dict) and key != "memory"]
    if nested:
        raise InputError(where, 'the cgroups in it as [cgroup."a/b"]', f"a table {nested[0]}")
    flat = _check_keys(_flatten(table), tuple(LIMITS), where)
    limits: Any = {LIMITS[key]: _limit(key, value, where) for key, value in flat.items()}
    return Cgroup(**limits)


def _events(table: object, where: str) -> list[Event]:
    """Read an event, which may happen again and again."""
    if not isinstance(table, dict):
        raise InputError(where, "a table", _shown(table))
    again = _convert({key: table[key] for key in AGAIN if key in table}, _Again, where)
    event = _event({key: value for key, value in table.items() if key not in AGAIN}, where)
    if again.times > 1 and event.remove:
        raise InputError(f"{where}.times", "1, as the cgroup is removed", again.times)
    return [msgspec.structs.replace(event, at=event.at + i * again.every) for i in range(again.times)]


def _event(table: Table, where: str) -> Event:
    known = ("at", "cgroup", "memory.reclaim", "exit", "remove", *LIMITS)
    flat = _check_keys(_flatten(table), known, where)
    limits = {LIMITS[key]: _limit(key, value, where) for key, value in flat.items() if key in LIMITS}
    rest = {key: value for key, value in flat.items() if key in ("at", "cgroup", "exit", "remove")}
    if "memory.reclaim" in flat:
        written = flat["memory.reclaim"]
        size = written.removesuffix(FROM_ZSWAP) if isinstance(written, str) else written
        rest["reclaim"] = parse_size(size, f"{where}.memory.reclaim")
        rest["source"] = "" if size == written else "zswap"
    for key in ("at", "cgroup"):
        if key not in rest:
            raise InputError(where, f"the key {key}", "an event without it")
    return _convert(rest, Event, where, {"set": limits})


def _workload(table: object, where: str) -> Workload:
    plain = _check_keys(table, Workload.__struct_fields__, where)
    rest = dict(plain)
    if isinstance(rest.get("pattern"), str):
        rest["pattern"] = {"kind": rest["pattern"]}
    for key in ("pattern", "write_fraction"):
        if key in rest and "trace" in rest:
            raise InputError(f"{where}.{key}", "none with a trace, which has its own", _shown(plain[key]))
    if "content" in rest and rest.get("kind") == "file":
        expected = "none for a file, whose pages are never compressed"
        raise InputError(f"{where}.content", expected, _shown(plain["content"]))
    extra = {key: decode(rest.pop(key), f"{where}.{key}") for key, decode in OF_WORKLOAD.items() if key in rest}
    return _convert(rest, Workload, where, extra)


def _machine(table: object, where: str) -> Machine:
    plain = _sized(table, ("memory",), where)
    if isinstance(plain, dict) and isinstance(kernel := plain.get("kernel"), float):
        plain = plain | {"kernel": str(kernel)}
    return _convert(plain, Machine, where)


def _own_time(value: object, where: str) -> OwnTime:
    """Read ``1.63s``, which was measured, or ``about 1.4s``."""
    text = value.removeprefix(ABOUT) if isinstance(value, str) else value
    return OwnTime(parse_duration(text, where), text != value)


OF_WORKLOAD: dict[str, Callable[[object, str], Any]] = {
    "content": content_from_toml,
    "think": parse_duration,
    "time": _own_time,
}
"""Keys of a workload that TOML has in another form."""


def _swap(table: object, where: str) -> Swap:
    plain = _check_keys(table, Swap.__struct_fields__, where)
    device = plain.get("device", "nvme")
    rest = {key: value for key, value in plain.items() if key != "device"}
    decoded = "zram" if device == "zram" else Device.from_toml(device, f"{where}.device")
    return _convert(_sized(rest, ("size",), where), Swap, where, {"device": decoded})


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(where, "an array of tables ([[...]])", _shown(value))
    return value


def _scenario(table: Table, source: str, base: Path) -> Scenario:
    _check_keys(table, TOP, source)
    where = f"{source}: "
    cgroups = table.get("cgroup", {})
    if not isinstance(cgroups, dict):
        raise InputError(f"{where}cgroup", 'tables such as [cgroup."a/b"]', _shown(cgroups))
    parts = {
        "machine": _machine(table.get("machine", {}), f"{where}machine"),
        "zswap": _convert(table.get("zswap", {}), Zswap, f"{where}zswap"),
        "swap": _swap(table.get("swap", {}), f"{where}swap"),
        "proposed": _convert(table.get("proposed", {}), Proposed, f"{where}proposed"),
        "cgroups": {path: _cgroup(each, f'{where}cgroup."{path}"') for path, each in cgroups.items()},
        "workloads": tuple(
            _workload(each, f"{where}workload[{i}]")
            for i, each in enumerate(_list(table.get("workload", []), f"{where}workload"))
        ),
        "events": tuple(
            event
            for i, each in enumerate(_list(table.get("event", []), f"{where}event"))
            for event in _events(each, f"{where}event[{i}]")
        ),
        "base": base,
        "source": source,
    }
    rest = {key: table[key] for key in ("name", "description", "interleave", "samples") if key in table}
    try:
        return _convert(rest | {"workloads": []}, Scenario, "", parts)
    except InputError as error:
        raise InputError(where + error.where.lstrip("."), error.expected, error.found) from None
